"use strict";

const FILTERS = ["words", "state", "stage", "checkpoint", "lora", "seed", "stars", "score", "least"];
const CHOICES = { stage: "stage", checkpoint: "checkpoint", lora: "loras", score: "scores" };

/** Return the element with this id. */
function byId(id) {
  return document.getElementById(id);
}

/** Replace the options of a select element, keeping what is chosen. */
function setOptions(select, options) {
  const told = JSON.stringify(options);
  if (select.dataset.told === told) return;
  const { value } = select;
  select.dataset.told = told;
  select.replaceChildren(...options.map(([key, text]) => new Option(text, key)));
  if (options.some(([key]) => key === value)) select.value = value;
}

/** The form that chooses and orders what is shown. */
class FilterPanel {
  constructor(model, onChange) {
    this.model = model;
    this.form = byId("filters");
    this.fields = Object.fromEntries(FILTERS.map((name) => [name, byId(`f-${name}`)]));
    this.sort = byId("f-sort");
    this.group = byId("f-group");
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.form.addEventListener("input", () => {
      this.read();
      onChange();
    });
    byId("f-clear").addEventListener("click", () => {
      for (const field of Object.values(this.fields)) field.value = field.id === "f-stars" ? "0" : "";
      this.read();
      onChange();
    });
    this.fill();
  }

  /** Offer the values that the pictures have. */
  fill() {
    for (const [name, fact] of Object.entries(CHOICES)) {
      const values = this.model.values(fact);
      const chosen = this.model.filter[name];
      if (chosen && !values.includes(chosen)) values.push(chosen);
      setOptions(this.fields[name], [["", name === "score" ? "any" : "all"], ...values.map((value) => [value, value])]);
    }
    const scores = this.model.values("scores").map((name) => [`score:${name}`, name]);
    const plain = [["name", "name"], ["newest", "newest"], ["undecided", "undecided first"], ["stars", "stars"], ["seed", "seed"]];
    setOptions(this.sort, [...plain, ...scores]);
  }

  read() {
    for (const [name, field] of Object.entries(this.fields)) {
      this.model.filter[name] = name === "stars" ? Number(field.value) : field.value;
    }
    this.model.sort = this.sort.value || "name";
    this.model.group = this.group.value;
  }

  /** Show what the model has. */
  write() {
    this.fill();
    for (const [name, field] of Object.entries(this.fields)) field.value = String(this.model.filter[name]);
    this.sort.value = this.model.sort;
    this.group.value = this.model.group;
  }

  toggle(isOpen = this.form.hidden) {
    this.form.hidden = !isOpen;
    byId("filter-button").setAttribute("aria-expanded", String(isOpen));
    if (isOpen) this.fields.words.focus();
  }
}

/** The parameters of one picture, or of several side by side, and where they differ. */
class DetailsPanel {
  constructor(backend) {
    this.backend = backend;
    this.element = byId("details");
    this.known = new Map();
    this.onlyDifferent = false;
    this.asked = 0;
  }

  get isOpen() { return !this.element.hidden; }

  /** Show pictures in columns; differences are marked against the first one, or against `against`. */
  async show(pictures, against) {
    this.element.hidden = false;
    this.asked += 1;
    const { asked } = this;
    const all = [...pictures, ...(against ? [against] : [])];
    const tables = await Promise.all(all.map((picture) => this.details(picture)));
    if (asked !== this.asked) return;
    const others = against ? tables.slice(-1) : tables.slice(1);
    const shown = tables.slice(0, pictures.length);
    const names = [...new Set(shown.flatMap((table) => [...table.keys()]))];
    const rows = [];
    for (const name of names) {
      const differs = others.some((table) => table.get(name) !== shown[0].get(name));
      if (this.onlyDifferent && !differs) continue;
      const row = document.createElement("tr");
      row.classList.toggle("differs", differs);
      const heading = document.createElement("th");
      heading.scope = "row";
      heading.textContent = name;
      row.append(heading);
      for (const table of shown) {
        const cell = document.createElement("td");
        cell.dir = "auto";
        cell.textContent = table.get(name) ?? "–";
        row.append(cell);
      }
      rows.push(row);
    }
    const table = document.createElement("table");
    const body = document.createElement("tbody");
    body.append(...rows);
    table.append(body);
    const about = document.createElement("p");
    const compared = against ? "Compared with the previous picture" : "Parameters";
    about.textContent = this.onlyDifferent ? `${compared}: only what differs (D shows all)` : `${compared} (D: only what differs)`;
    this.element.replaceChildren(about, table);
  }

  hide() {
    this.asked += 1;
    this.element.hidden = true;
  }

  async details(picture) {
    const key = `${picture.id}-${picture.revision}`;
    if (!this.known.has(key)) {
      const told = await this.backend.details(picture.id).catch(() => ({}));
      const rows = [["prompt", told.prompt], ["negative prompt", told.negative_prompt], ...(told.parameters || [])];
      this.known.set(key, new Map([["file", picture.name], ...rows.filter(([, value]) => value)]));
    }
    return this.known.get(key);
  }
}

/** How the jobs go that the page asked for. */
class JobsPanel {
  constructor(backend, onError) {
    this.element = byId("jobs");
    this.byPicture = new Map();
    this.told = "";
    this.seen = new Set();
    byId("jobs-cancel").addEventListener("click", () => backend.cancel().catch(onError));
  }

  /** Take the server's list; return the ids of pictures whose progress changed. */
  take(tasks, model) {
    const told = JSON.stringify(tasks);
    if (told === this.told) return [];
    this.told = told;
    const before = [...this.byPicture.keys()];
    const count = (...statuses) => tasks.filter((task) => statuses.includes(task.status)).length;
    const open = tasks.filter((task) => task.status === "running" || task.status === "queued");
    this.byPicture = new Map(open.map((task) => [task.picture, task]));
    const done = tasks.length - open.length;
    const parts = [`${count("made")} made`];
    if (count("skipped")) parts.push(`${count("skipped")} skipped`);
    if (count("rejected")) parts.push(`${count("rejected")} rejected by judges`);
    if (count("failed")) parts.push(`${count("failed")} failed`);
    if (count("cancelled")) parts.push(`${count("cancelled")} cancelled`);
    byId("jobs-text").textContent = `${done} of ${counted(tasks.length, "job")} done: ${parts.join(", ")}`;
    const share = tasks.reduce((sum, task) => sum + (open.includes(task) ? task.percent / 100 : 1), 0);
    byId("jobs-progress").value = tasks.length ? share / tasks.length : 0;
    byId("jobs-cancel").hidden = !open.length;
    byId("jobs-failures").replaceChildren(...tasks.filter((task) => ["failed", "rejected"].includes(task.status)).map((task) => {
      const item = document.createElement("li");
      item.textContent = `${model.pictures.get(task.picture)?.name || task.picture}: ${task.message}`;
      return item;
    }));
    this.element.hidden = !tasks.length;
    return [...before, ...this.byPicture.keys()];
  }
}
