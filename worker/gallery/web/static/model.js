"use strict";

const UNDECIDED = Object.freeze({ flag: "none", stars: 0, label: 0, note: "", reviewed: false });
const FLAG_WORDS = { pick: "kept", reject: "rejected", none: "undecided" };
const FLAG_SIGNS = { pick: "✓", reject: "✕", none: "" };
const MOST_UNDO = 1000;

/** The pictures, the decisions on them, and which are shown in which order. */
class Model {
  constructor() {
    this.pictures = new Map();
    this.version = 0;
    this.filter = { words: "", state: "", stage: "", checkpoint: "", lora: "", seed: "", stars: 0, score: "", least: "" };
    this.sort = "name";
    this.group = "";
    this.shown = [];
    this.headings = new Map();
    this.places = new Map();
    this.duplicates = new Map();
    this.undoable = [];
    this.redoable = [];
    this.unsent = [];
  }

  /** Take in what the server tells; return whether pictures came or went, and whether facts came. */
  take(told) {
    const unsent = new Set(this.unsent.map((change) => change.id));
    let isNew = false;
    let hasFacts = false;
    for (const one of told.pictures) {
      if (one.gone) {
        isNew = this.pictures.delete(one.id) || isNew;
        continue;
      }
      const known = this.pictures.get(one.id);
      const facts = one.facts ? { loras: [], scores: {}, ...one.facts, prompt: told.prompts[one.facts.prompt] } : null;
      const decision = known && unsent.has(one.id) ? known.decision : { ...UNDECIDED, ...one.decision };
      hasFacts ||= facts !== null && (!known || known.facts === null);
      isNew ||= !known;
      this.pictures.set(one.id, { ...one, facts, decision, text: null });
    }
    this.version = told.version;
    return { isNew, hasFacts };
  }

  setDuplicates(groups) {
    this.duplicates = new Map(groups.flatMap((group, number) => group.map((id) => [id, number])));
  }

  /** Choose and order what is shown; those in `kept` stay whatever was decided on them meanwhile. */
  arrange(kept = new Set()) {
    const fits = (picture) => this.fits(picture) && (kept.has(picture.id) || this.hasState(picture));
    const found = [...this.pictures.values()].filter(fits);
    found.sort(this.comparison());
    this.headings = new Map();
    if (this.group) this.gather(found);
    else this.shown = found.map((picture) => picture.id);
    this.places = new Map(this.shown.map((id, place) => [id, place]));
  }

  hasState({ decision }) {
    const { state, stars } = this.filter;
    if (state === "unseen" ? decision.reviewed : state && decision.flag !== state) return false;
    return decision.stars >= stars;
  }

  fits(picture) {
    const { filter } = this;
    const facts = picture.facts || { loras: [], scores: {} };
    if (filter.stage && facts.stage !== filter.stage) return false;
    if (filter.checkpoint && facts.checkpoint !== filter.checkpoint) return false;
    if (filter.lora && !facts.loras.includes(filter.lora)) return false;
    if (filter.seed && facts.seed !== filter.seed.trim()) return false;
    if (filter.score && filter.least !== "" && !(facts.scores[filter.score] >= Number(filter.least))) return false;
    if (this.group === "duplicates" && !this.duplicates.has(picture.id)) return false;
    const words = filter.words.toLowerCase().split(/\s+/).filter(Boolean);
    if (!words.length) return true;
    picture.text ??= `${picture.name}\n${facts.prompt || ""}`.toLowerCase();
    return words.every((word) => picture.text.includes(word));
  }

  comparison() {
    const byName = (a, b) => (a.name < b.name ? -1 : Number(a.name > b.name));
    const rank = (value) => (one, other) => value(other) - value(one) || byName(one, other);
    if (this.sort === "newest") return rank((picture) => picture.modified);
    if (this.sort === "stars") return rank((picture) => picture.decision.stars);
    if (this.sort === "undecided") return rank((picture) => Number(picture.decision.flag === "none"));
    if (this.sort === "seed") return rank((picture) => -Number(picture.facts?.seed ?? 0));
    if (this.sort.startsWith("score:")) {
      const score = this.sort.slice(6);
      return rank((picture) => picture.facts?.scores[score] ?? -1e12);
    }
    return byName;
  }

  gather(found) {
    const groups = new Map();
    for (const picture of found) {
      const key = this.group === "duplicates" ? this.duplicates.get(picture.id) : picture.facts?.[this.group] || "unknown";
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push(picture.id);
    }
    this.shown = [];
    for (const [key, ids] of groups) {
      const name = this.group === "duplicates" ? "similar" : `${this.group} ${key}`;
      this.headings.set(this.shown.length, `${name} (${ids.length})`);
      this.shown.push(...ids);
    }
  }

  /** Change decisions as one step that can be undone. */
  decide(ids, set) {
    const step = [];
    for (const id of ids) {
      const picture = this.pictures.get(id);
      if (!picture) continue;
      const before = Object.fromEntries(Object.keys(set).map((name) => [name, picture.decision[name]]));
      step.push({ id, before, after: set });
      this.change(id, set);
    }
    if (!step.length) return;
    this.undoable.push(step);
    if (this.undoable.length > MOST_UNDO) this.undoable.shift();
    this.redoable = [];
  }

  /** Take the last step back; return the ids that it was about. */
  undo() {
    const step = this.undoable.pop();
    if (!step) return [];
    for (const { id, before } of step) this.change(id, before);
    this.redoable.push(step);
    return step.map(({ id }) => id);
  }

  redo() {
    const step = this.redoable.pop();
    if (!step) return [];
    for (const { id, after } of step) this.change(id, after);
    this.undoable.push(step);
    return step.map(({ id }) => id);
  }

  /** Change a decision here, and put the change in line for the server. */
  change(id, set) {
    const picture = this.pictures.get(id);
    if (!picture) return;
    picture.decision = { ...picture.decision, ...set };
    this.unsent.push({ id, set });
  }

  counts() {
    const counts = { pick: 0, reject: 0, none: 0, all: this.pictures.size };
    for (const picture of this.pictures.values()) counts[picture.decision.flag] += 1;
    return counts;
  }

  withFlag(flag) {
    return [...this.pictures.values()].filter((picture) => picture.decision.flag === flag).map((picture) => picture.id);
  }

  /** Return every value that a fact has, sorted. */
  values(fact) {
    const found = new Set();
    for (const { facts } of this.pictures.values()) {
      if (!facts) continue;
      if (fact === "loras") facts.loras.forEach((name) => found.add(name));
      else if (fact === "scores") Object.keys(facts.scores).forEach((name) => found.add(name));
      else if (facts[fact]) found.add(facts[fact]);
    }
    return [...found].sort();
  }
}

/** Return a number with its noun. */
function counted(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

/** Return a picture in words, for screen readers. */
function describe(picture) {
  const { decision } = picture;
  const parts = [picture.name, FLAG_WORDS[decision.flag]];
  if (decision.stars) parts.push(counted(decision.stars, "star"));
  if (decision.label) parts.push(`label ${decision.label}`);
  if (decision.note) parts.push(`note: ${decision.note}`);
  return parts.join(", ");
}

/** Return sign, word and stars of a decision. */
function flagText(decision) {
  const stars = "★".repeat(decision.stars);
  return `${FLAG_SIGNS[decision.flag]}${stars && ` ${stars}`}`.trim();
}
