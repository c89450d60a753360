"use strict";

/** The server's refusal of a request. */
class BackendError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The gallery's server. */
class HttpBackend {
  constructor() {
    this.token = "";
    this.isOffline = false;
  }

  /** Return what the server allows; with a key, exchange it for a cookie first. */
  async open(key) {
    const headers = key ? { Authorization: `Bearer ${key}` } : {};
    const session = await this.call(key ? "POST" : "GET", "api/session", undefined, headers);
    this.token = session.token;
    return session;
  }

  changes(since) { return this.call("GET", `api/pictures?since=${since}`); }
  details(id) { return this.call("GET", `api/pictures/${id}`); }
  decide(decisions) { return this.call("POST", "api/decisions", { decisions }); }
  findDuplicates() { return this.call("POST", "api/duplicates", {}); }
  finish(pictures) { return this.call("POST", "api/finish", { pictures }); }
  again(picture, count) { return this.call("POST", "api/again", { picture, count }); }
  cancel() { return this.call("POST", "api/cancel", {}); }
  trash() { return this.call("POST", "api/trash", {}); }
  restore() { return this.call("POST", "api/restore", {}); }

  thumbnailUrl(picture) { return `thumbnails/${picture.id}?v=${picture.revision}`; }
  pictureUrl(picture) { return `pictures/${picture.id}?v=${picture.revision}`; }
  exportUrl(what) { return `api/export/${what}?flag=pick`; }

  async call(method, path, body, headers = {}) {
    let response;
    try {
      response = await fetch(path, {
        method,
        headers: { ...headers, "Content-Type": "application/json", "X-Gallery-Token": this.token },
        body: body === undefined ? undefined : JSON.stringify(body),
      });
    } catch (error) {
      throw new BackendError(0, "the gallery’s server can’t be reached");
    }
    const told = await response.json().catch(() => ({}));
    if (!response.ok) throw new BackendError(response.status, told.error || `error ${response.status}`);
    return told;
  }
}

/** A page opened from a folder: the list stands in a script, decisions in the browser. */
class FileBackend {
  constructor(index) {
    this.index = index;
    this.isOffline = true;
    this.place = `gallery:${location.pathname}`;
    this.lines = JSON.parse(localStorage.getItem(this.place) || "[]");
  }

  async open() {
    return { title: this.index.title, may_delete: false, may_run: false };
  }

  async changes(since) {
    if (since) return { version: 1, pictures: [], prompts: [], tasks: [], duplicates: this.index.duplicates };
    const decisions = new Map();
    for (const line of this.lines) decisions.set(line.id, { ...decisions.get(line.id), ...line.set });
    const pictures = this.index.pictures.map((told) => ({ ...told, decision: { ...told.decision, ...decisions.get(told.id) } }));
    return { version: 1, pictures, prompts: this.index.prompts, tasks: [], duplicates: this.index.duplicates };
  }

  async details(id) {
    return this.index.details[id] || {};
  }

  async decide(decisions) {
    const t = new Date().toISOString();
    this.lines.push(...decisions.map(({ id, set }) => ({ t, id, set })));
    localStorage.setItem(this.place, JSON.stringify(this.lines));
    return { missing: [] };
  }

  async findDuplicates() {
    return this.index.duplicates;
  }

  /** Return the text of curation.jsonl: what the folder had, and what was decided here. */
  journal() {
    const files = new Map(this.index.files.map((file) => [file.id, file]));
    const lines = this.lines.map(({ t, id, set }) => {
      const { name, size, fingerprint } = files.get(id);
      return JSON.stringify({ v: 1, t, name, size, fingerprint, set });
    });
    return this.index.journal + lines.map((line) => `${line}\n`).join("");
  }

  thumbnailUrl(picture) { return `.gallery/thumbnails/${picture.id}.webp`; }
  pictureUrl(picture) { return picture.name.split("/").map(encodeURIComponent).join("/"); }
}
