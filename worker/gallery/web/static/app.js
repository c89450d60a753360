"use strict";

const MESSAGE_MS = 4000;
const LETTERS_OFF = "gallery:letters-off";
const NO_ENDPOINT = "No endpoint to run jobs on: start the gallery with --endpoint (a worker’s address, an endpoint’s id, or local)";

/** Puts the parts together: what keys, buttons and swipes do. */
class App {
  constructor() {
    this.backend = window.GALLERY_INDEX ? new FileBackend(window.GALLERY_INDEX) : new HttpBackend();
    this.model = new Model();
    this.selected = new Set();
    this.anchor = null;
    this.session = {};
    this.isFirstLook = true;
    this.filters = new FilterPanel(this.model, () => this.rearrange());
    this.details = new DetailsPanel(this.backend);
    this.jobs = new JobsPanel(this.backend, (error) => this.tell(error.message));
    this.grid = new Grid(byId("scroller"), byId("grid"), {
      model: this.model,
      thumbnailUrl: (picture) => this.backend.thumbnailUrl(picture),
      taskOf: (id) => this.jobs.byPicture.get(id),
      isSelected: (id) => this.selected.has(id),
    });
    this.viewer = new Viewer(byId("viewer"), {
      model: this.model,
      backend: this.backend,
      onMove: (id) => id && this.moveTo(id),
      onMark: (flag) => this.mark({ flag }),
    });
    this.sync = new Sync(this.backend, this.model, {
      onNews: (told, changed) => this.onNews(told, changed),
      onTrouble: (message, status) => this.onTrouble(message, status),
    });
    this.actions = this.listActions();
    this.listen();
    this.fillHelp();
  }

  async start() {
    const key = new URLSearchParams(location.hash.slice(1)).get("key");
    if (key) history.replaceState(null, "", location.pathname);
    await this.open(key);
    this.restoreView();
    await this.sync.run();
  }

  async open(key) {
    let given = key;
    for (;;) {
      try {
        this.session = await this.backend.open(given);
        break;
      } catch (error) {
        if (!(error instanceof BackendError)) throw error;
        if (error.status !== 401) {
          this.tell(error.message);
          await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
          continue;
        }
        byId("login-error").textContent = given ? "Wrong key." : "";
        given = await this.askKey();
      }
    }
    byId("title").textContent = this.session.title;
    document.title = `${this.session.title} – gallery`;
    byId("deleting").hidden = !this.session.may_delete;
    byId("exports").hidden = this.backend.isOffline;
    byId("save-page").hidden = !this.backend.isOffline;
    byId("review-finish").hidden = !this.session.may_run;
    if (!this.backend.isOffline) {
      for (const link of document.querySelectorAll("[data-export]")) link.href = this.backend.exportUrl(link.dataset.export);
    }
  }

  askKey() {
    const dialog = byId("login");
    if (!dialog.open) dialog.showModal();
    return new Promise((resolve) => {
      dialog.querySelector("form").onsubmit = () => resolve(byId("login-key").value);
      dialog.oncancel = (event) => event.preventDefault();
    });
  }

  // -- news -----------------------------------------------------------------------------------------------------------

  onNews(told, { isNew, hasFacts }) {
    this.model.setDuplicates(told.duplicates?.groups || []);
    const changed = this.jobs.take(told.tasks, this.model);
    if (this.isFirstLook) this.chooseFirstFilter();
    if (isNew || (hasFacts && this.needsFacts()) || this.waitsForDuplicates(told)) this.rearrange(true);
    else if (told.pictures.length || changed.length) this.grid.refresh([...told.pictures.map((one) => one.id), ...changed]);
    if (hasFacts) this.filters.fill();
    if (told.pictures.length) {
      if (this.viewer.isOpen) this.viewer.caption();
      this.count();
    }
  }

  waitsForDuplicates(told) {
    const isDone = told.duplicates?.state === "done";
    const came = this.model.group === "duplicates" && isDone && !this.hasDuplicates;
    this.hasDuplicates = isDone;
    return came;
  }

  needsFacts() {
    const { filter, sort, group } = this.model;
    return filter.words || filter.stage || filter.checkpoint || filter.lora || filter.seed || filter.score || group ||
      sort === "seed" || sort.startsWith("score:");
  }

  /** Begin where one stopped: with what is undecided, if anything is decided. */
  chooseFirstFilter() {
    this.isFirstLook = false;
    const counts = this.model.counts();
    if (counts.none && counts.none < counts.all) this.model.filter.state = "none";
    this.filters.write();
  }

  onTrouble(message, status) {
    byId("saving").textContent = message ? `${this.model.unsent.length ? "Not saved: " : ""}${message}` : "";
    if (status === 401 && !byId("login").open) this.open("").catch((error) => this.tell(error.message));
  }

  /** Choose and order anew; with `isQuiet` pictures that were marked meanwhile stay where they are. */
  rearrange(isQuiet = false) {
    const { current } = this.grid;
    const place = this.model.places.get(current) ?? 0;
    if (this.model.group === "duplicates" && !this.hasDuplicates) {
      this.backend.findDuplicates().catch((error) => this.tell(error.message));
    }
    this.model.arrange(isQuiet ? new Set(this.model.shown) : new Set());
    if (!isQuiet) this.deselect();
    this.grid.layout();
    const { shown } = this.model;
    this.moveTo(this.model.places.has(current) ? current : shown[Math.min(place, shown.length - 1)] ?? null);
    const empty = byId("empty");
    empty.hidden = shown.length > 0;
    empty.textContent = this.model.pictures.size
      ? "No picture matches the filter. F opens the filter."
      : "There are no pictures here yet. New ones appear automatically.";
    if (this.model.group === "duplicates" && !this.hasDuplicates) empty.textContent = "Looking for pictures that look alike…";
    this.count();
    this.saveView();
  }

  count() {
    const counts = this.model.counts();
    const shown = this.model.shown.length;
    const part = shown === counts.all ? "" : `, ${shown} shown`;
    const chosen = this.selected.size ? `, ${this.selected.size} selected` : "";
    byId("count").textContent = `${counts.pick} of ${counts.all} kept, ${counts.reject} rejected${part}${chosen}`;
    byId("review-text").textContent =
      `${counts.pick} kept, ${counts.reject} rejected, ${counts.none} undecided of ${counts.all}.`;
  }

  // -- moving ---------------------------------------------------------------------------------------------------------

  get current() { return this.viewer.isOpen ? this.viewer.current : this.grid.current; }

  moveTo(id) {
    this.grid.setCurrent(id);
    if (id && this.viewer.isOpen && !this.viewer.isComparing) {
      this.viewer.show(id);
      this.see(id);
    }
    this.showDetails();
    this.pressButtons();
  }

  move(step, isRange = false) {
    if (this.viewer.isComparing) {
      this.viewer.setActive(this.viewer.active + Math.sign(step));
      this.pressButtons();
      return;
    }
    const { shown, places } = this.model;
    if (!shown.length) return;
    const from = places.get(this.grid.current) ?? 0;
    const to = Math.max(0, Math.min(shown.length - 1, from + step));
    if (isRange) this.selectRange(to);
    this.moveTo(shown[to]);
    const picture = this.model.pictures.get(shown[to]);
    if (picture) this.say(`${describe(picture)}, ${to + 1} of ${shown.length}`);
  }

  /** Note that a picture was looked at in full. */
  see(id) {
    const picture = this.model.pictures.get(id);
    if (!picture || picture.decision.reviewed) return;
    this.model.change(id, { reviewed: true });
    this.sync.wake();
  }

  openViewer() {
    if (!this.grid.current) return;
    this.viewer.show(this.grid.current);
    this.see(this.grid.current);
    this.showDetails();
    this.pressButtons();
  }

  closeViewer() {
    this.viewer.close();
    this.grid.setCurrent(this.grid.current);
    byId("grid").focus({ preventScroll: true });
    this.showDetails();
  }

  compare() {
    if (this.viewer.isComparing) {
      this.closeViewer();
      return;
    }
    const { shown, places } = this.model;
    const place = places.get(this.grid.current) ?? 0;
    const chosen = [...this.selected].sort((a, b) => places.get(a) - places.get(b)).slice(0, 4);
    const ids = chosen.length > 1 ? chosen : shown.slice(Math.min(place, Math.max(0, shown.length - 2)), place + 2).slice(0, 2);
    if (ids.length < 2) return;
    this.viewer.compare(ids);
    ids.forEach((id) => this.see(id));
    this.details.onlyDifferent = true;
    this.showDetails(true);
    this.pressButtons();
  }

  showDetails(isWanted = this.details.isOpen) {
    if (!isWanted) return;
    const pictures = this.viewer.isComparing
      ? this.viewer.panes.map((pane) => this.model.pictures.get(pane.id))
      : [this.model.pictures.get(this.grid.current)];
    if (!pictures[0]) return;
    const before = this.model.pictures.get(this.model.shown[this.model.places.get(this.grid.current) - 1]);
    this.details.show(pictures.filter(Boolean), this.viewer.isComparing ? undefined : before);
  }

  toggleDetails() {
    if (this.details.isOpen) this.details.hide();
    else this.showDetails(true);
  }

  // -- marking --------------------------------------------------------------------------------------------------------

  /** Mark the current picture, or all that are selected. The same mark again takes it off, the opposite goes by none. */
  mark(wanted, { isStaying = false, isRepeated = false } = {}) {
    const id = this.current;
    if (!id) return;
    const many = this.selected.size && !this.viewer.isOpen ? [...this.selected] : null;
    if (many) {
      this.model.decide(many, { ...wanted, reviewed: true });
      this.marked(many, `${many.length} pictures: ${this.inWords(many[0])}`);
      return;
    }
    const { decision } = this.model.pictures.get(id);
    const [[field, value]] = Object.entries(wanted);
    let set = wanted;
    let advances = !isStaying && !this.viewer.isComparing;
    if (field === "flag" && value !== "none" && decision.flag !== "none") {
      if (isRepeated && decision.flag === value) return;
      set = { flag: "none" };
      advances = false;
    } else if (field !== "flag" && decision[field] === value && value) {
      if (isRepeated) return;
      set = { [field]: 0 };
      advances = false;
    } else if (field === "flag" && value === "none") advances = false;
    this.model.decide([id], { ...set, reviewed: true });
    const words = this.inWords(id);
    this.marked([id], words);
    if (!advances) return;
    const place = this.model.places.get(id);
    if (place === this.model.shown.length - 1) {
      const counts = this.model.counts();
      this.tell(`That was the last one. ${counts.pick} of ${counts.all} kept, ${counts.none} undecided. V: review`);
    } else this.moveTo(this.model.shown[place + 1]);
  }

  inWords(id) {
    const { decision } = this.model.pictures.get(id);
    return `${FLAG_WORDS[decision.flag]}${decision.stars ? `, ${counted(decision.stars, "star")}` : ""}`;
  }

  marked(ids, words) {
    this.grid.refresh(ids);
    if (this.viewer.isOpen) {
      this.viewer.caption();
      if (!this.viewer.isComparing) this.viewer.showStrip();
    }
    this.count();
    this.pressButtons();
    const place = this.model.places.get(ids[0]);
    this.say(`${words}, ${place === undefined ? "" : `${place + 1} of `}${this.model.shown.length}`);
    this.sync.wake();
  }

  undo(ids, verb) {
    if (!ids.length) {
      this.tell(`Nothing to ${verb}`);
      return;
    }
    const there = ids.filter((id) => this.model.places.has(id));
    if (there.length && !this.viewer.isComparing) this.moveTo(there[0]);
    this.marked(ids, `${verb}: ${counted(ids.length, "picture")}`);
  }

  editNote() {
    const id = this.current;
    const picture = this.model.pictures.get(id);
    if (!picture) return;
    byId("note-text").value = picture.decision.note;
    this.ask("note", () => {
      this.model.decide([id], { note: byId("note-text").value, reviewed: true });
      this.marked([id], "note saved");
    });
  }

  // -- selecting ------------------------------------------------------------------------------------------------------

  toggleSelected(id) {
    if (!id) return;
    if (!this.selected.delete(id)) this.selected.add(id);
    this.anchor = this.model.places.get(id);
    this.grid.refresh([id]);
    this.count();
    this.say(`${this.selected.size} selected`);
  }

  selectRange(to) {
    const from = this.anchor ?? this.model.places.get(this.grid.current) ?? 0;
    this.anchor = from;
    this.selected = new Set(this.model.shown.slice(Math.min(from, to), Math.max(from, to) + 1));
    this.grid.refresh();
    this.count();
  }

  deselect() {
    this.anchor = null;
    if (!this.selected.size) return;
    this.selected.clear();
    this.grid.refresh();
    this.count();
  }

  back() {
    if (this.viewer.isOpen) this.closeViewer();
    else if (this.selected.size) this.deselect();
    else if (this.details.isOpen) this.details.hide();
    else if (!byId("filters").hidden) this.filters.toggle(false);
  }

  // -- jobs -----------------------------------------------------------------------------------------------------------

  async finish() {
    if (!this.session.may_run) {
      this.tell(NO_ENDPOINT);
      return;
    }
    const ids = this.model.withFlag("pick");
    if (!ids.length) {
      this.tell("Nothing is kept yet: P keeps a picture");
      return;
    }
    await this.request(async () => {
      const { tasks } = await this.backend.finish(ids);
      const skipped = tasks.filter((task) => task.status === "skipped").length;
      const queued = tasks.filter((task) => task.status === "queued" || task.status === "running").length;
      this.tell(finishingText(queued, skipped, tasks.length - queued - skipped));
    });
  }

  makeAgain() {
    const id = this.current;
    if (!this.session.may_run) {
      this.tell(NO_ENDPOINT);
      return;
    }
    if (!id) return;
    this.ask("again", () => this.request(async () => {
      const { tasks } = await this.backend.again(id, Number(byId("again-count").value));
      this.tell(`${counted(tasks.length, "job")} sent`);
    }));
  }

  async request(send) {
    try {
      await send();
    } catch (error) {
      if (!(error instanceof BackendError)) throw error;
      this.tell(error.message);
    }
    this.sync.isBusy = true;
    this.sync.wake();
  }

  // -- dialogs and messages -------------------------------------------------------------------------------------------

  ask(name, onSubmit) {
    const dialog = byId(name);
    dialog.querySelector("form").onsubmit = onSubmit;
    dialog.showModal();
  }

  openDialog(name) {
    this.count();
    byId("review-confirm").hidden = true;
    byId(name).showModal();
  }

  tell(message) {
    const element = byId("message");
    element.textContent = message;
    clearTimeout(this.telling);
    this.telling = setTimeout(() => { element.textContent = ""; }, MESSAGE_MS);
  }

  say(text) {
    byId("live").textContent = text;
  }

  pressButtons() {
    const flag = this.model.pictures.get(this.current)?.decision.flag;
    byId("do-pick").setAttribute("aria-pressed", String(flag === "pick"));
    byId("do-reject").setAttribute("aria-pressed", String(flag === "reject"));
  }

  async trash() {
    await this.request(async () => {
      const { moved } = await this.backend.trash();
      this.tell(`${counted(moved, "picture")} moved to the trash`);
    });
    byId("review-confirm").hidden = true;
  }

  saveJournal() {
    const url = URL.createObjectURL(new Blob([this.backend.journal()], { type: "application/x-ndjson" }));
    const link = document.createElement("a");
    link.href = url;
    link.download = "curation.jsonl";
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), RETRY_MS);
  }

  // -- what is remembered in this browser -----------------------------------------------------------------------------

  get place() { return `gallery-view:${this.session.title}`; }

  saveView() {
    const { filter, sort, group } = this.model;
    localStorage.setItem(this.place, JSON.stringify({ filter: { ...filter, state: "" }, sort, group, size: this.grid.size }));
  }

  restoreView() {
    let known = {};
    try {
      known = JSON.parse(localStorage.getItem(this.place)) || {};
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
    }
    Object.assign(this.model.filter, known.filter);
    this.model.sort = known.sort || "name";
    this.model.group = known.group || "";
    this.grid.size = known.size || this.grid.size;
    byId("size").value = this.grid.size;
    byId("letters").checked = !localStorage.getItem(LETTERS_OFF);
  }

  // -- keys -----------------------------------------------------------------------------------------------------------

  /** Every key: its name for people, what it does in words, and the action. */
  listActions() {
    const rows = () => (this.viewer.isOpen ? 1 : this.grid.columns);
    const page = () => (this.viewer.isOpen ? 10 : this.grid.columns * this.grid.pageRows());
    const mark = (wanted) => (event) => this.mark(wanted, { isStaying: event.shiftKey, isRepeated: event.repeat });
    const arrow = (step) => (event) => this.move(step(), event.shiftKey && !this.viewer.isOpen);
    const stars = [0, 1, 2, 3, 4, 5].map((count) => ({ keys: [`Digit${count}`, `Shift+Digit${count}`], run: mark({ stars: count }) }));
    const labels = [1, 2, 3, 4].map((label) => ({ keys: [`Digit${label + 5}`, `Shift+Digit${label + 5}`], run: mark({ label }) }));
    return [
      { keys: ["ArrowRight", "Shift+ArrowRight"], name: "← → ↑ ↓", about: "move; with Shift select a range", run: arrow(() => 1) },
      { keys: ["ArrowLeft", "Shift+ArrowLeft"], run: arrow(() => -1) },
      { keys: ["ArrowDown", "Shift+ArrowDown"], run: arrow(rows) },
      { keys: ["ArrowUp", "Shift+ArrowUp"], run: arrow(() => -rows()) },
      { keys: ["Home", "Ctrl+Home", "Shift+Home"], name: "Home, End, PgUp, PgDn", about: "first, last, a page up or down", run: arrow(() => -1e9) },
      { keys: ["End", "Ctrl+End", "Shift+End"], run: arrow(() => 1e9) },
      { keys: ["PageDown", "Shift+PageDown"], run: arrow(page) },
      { keys: ["PageUp", "Shift+PageUp"], run: arrow(() => -page()) },
      { keys: ["p", "Shift+p"], name: "P", about: "keep, and go to the next; with Shift stay", isLetter: true, run: mark({ flag: "pick" }) },
      { keys: ["x", "Shift+x"], name: "X", about: "reject, and go to the next; with Shift stay", isLetter: true, run: mark({ flag: "reject" }) },
      { keys: ["Delete"], name: "Del", about: "reject, like X; nothing is deleted", run: mark({ flag: "reject" }) },
      { keys: ["n"], name: "N", about: "undecided again; stays on the picture", isLetter: true, run: mark({ flag: "none" }) },
      { ...stars[1], name: "1–5, 0", about: "stars (0: none), and go to the next; with Shift stay", isLetter: true },
      ...[0, 2, 3, 4, 5].map((count) => ({ ...stars[count], isLetter: true })),
      { ...labels[0], name: "6–9", about: "coloured label, and go to the next; with Shift stay", isLetter: true },
      ...labels.slice(1).map((label) => ({ ...label, isLetter: true })),
      { keys: ["t"], name: "T", about: "note", isLetter: true, run: () => this.editNote() },
      { keys: ["Space"], name: "Space", about: "full picture, and back to the grid", run: () => (this.viewer.isOpen ? this.closeViewer() : this.openViewer()) },
      { keys: ["Enter"], run: () => this.openViewer() },
      { keys: ["g"], name: "G", about: "grid", isLetter: true, run: () => this.viewer.isOpen && this.closeViewer() },
      { keys: ["e"], name: "E", about: "full picture", isLetter: true, run: () => this.openViewer() },
      { keys: ["c"], name: "C", about: "compare two to four: those selected, or this one and the next", isLetter: true, run: () => this.compare() },
      { keys: ["z"], name: "Z", about: "zoom to 100 % at the pointer, and fit again", isLetter: true, run: () => this.viewer.toggleZoom() },
      { keys: ["i"], name: "I", about: "parameters", isLetter: true, run: () => this.toggleDetails() },
      { keys: ["d"], name: "D", about: "only the parameters that differ, or all", isLetter: true, run: () => { this.details.onlyDifferent = !this.details.onlyDifferent; this.showDetails(true); } },
      { keys: ["s"], name: "S", about: "select; keys then mark everything selected", isLetter: true, run: () => this.toggleSelected(this.grid.current) },
      { keys: ["Ctrl+a"], name: "Ctrl+A", about: "select everything shown", run: () => { this.selected = new Set(this.model.shown); this.grid.refresh(); this.count(); } },
      { keys: ["f"], name: "F", about: "filter", isLetter: true, run: () => this.filters.toggle() },
      { keys: ["Ctrl+z"], name: "Ctrl+Z, Ctrl+Shift+Z", about: "undo, redo", run: () => this.undo(this.model.undo(), "undo") },
      { keys: ["Ctrl+Shift+z", "Ctrl+y"], run: () => this.undo(this.model.redo(), "redo") },
      { keys: ["u"], name: "U", about: "finish the kept pictures", isLetter: true, run: () => this.finish() },
      { keys: ["r"], name: "R", about: "more like this, with the next seeds", isLetter: true, run: () => this.makeAgain() },
      { keys: ["v"], name: "V", about: "review: counts, export, trash", isLetter: true, run: () => this.openDialog("review") },
      { keys: ["?", "Shift+?"], name: "?", about: "this help", isLetter: true, run: () => this.openDialog("help") },
      { keys: ["Escape"], name: "Esc", about: "go back, then deselect", run: () => this.back() },
    ];
  }

  fillHelp() {
    byId("help-keys").replaceChildren(...this.actions.filter((action) => action.name).map(({ name, about }) => {
      const row = document.createElement("tr");
      const heading = document.createElement("th");
      heading.scope = "row";
      heading.textContent = name;
      const cell = document.createElement("td");
      cell.textContent = about;
      row.append(heading, cell);
      return row;
    }));
  }

  onKey(event) {
    if (event.isComposing || event.altKey || document.querySelector("dialog[open]")) return;
    const { target } = event;
    if (target.closest("input, select, textarea")) {
      if (event.key === "Escape") byId("grid").focus({ preventScroll: true });
      return;
    }
    if (target.closest("button, a") && (event.key === "Enter" || event.key === " ")) return;
    const name = keyName(event);
    const action = this.actions.find(({ keys }) => keys.includes(name));
    if (!action || (action.isLetter && !byId("letters").checked)) return;
    event.preventDefault();
    action.run(event);
  }

  listen() {
    document.addEventListener("keydown", (event) => this.onKey(event));
    const grid = byId("grid");
    const idAt = (event) => event.target.closest("[role=gridcell]")?.dataset.id;
    grid.addEventListener("click", (event) => {
      const id = idAt(event);
      if (!id) return;
      if (event.shiftKey) {
        this.anchor ??= this.model.places.get(this.grid.current);
        this.selectRange(this.model.places.get(id));
      } else if (event.ctrlKey || event.metaKey) this.toggleSelected(id);
      else this.deselect();
      this.moveTo(id);
      if (event.pointerType === "touch") this.openViewer();
    });
    grid.addEventListener("dblclick", (event) => idAt(event) && this.openViewer());
    const buttons = {
      back: () => this.closeViewer(),
      previous: () => this.move(-1),
      next: () => this.move(1),
      pick: () => this.mark({ flag: "pick" }),
      reject: () => this.mark({ flag: "reject" }),
      clear: () => this.mark({ flag: "none" }),
    };
    byId("actions").addEventListener("click", (event) => buttons[event.target.dataset.action]?.());
    byId("size").addEventListener("input", (event) => {
      this.grid.size = Number(event.target.value);
      this.grid.layout();
      this.grid.setCurrent(this.grid.current);
      this.saveView();
    });
    byId("filter-button").addEventListener("click", () => this.filters.toggle());
    byId("review-button").addEventListener("click", () => this.openDialog("review"));
    byId("help-button").addEventListener("click", () => this.openDialog("help"));
    byId("letters").addEventListener("change", (event) => {
      if (event.target.checked) localStorage.removeItem(LETTERS_OFF);
      else localStorage.setItem(LETTERS_OFF, "1");
    });
    for (const button of document.querySelectorAll("[data-close]")) {
      button.addEventListener("click", () => button.closest("dialog").close());
    }
    byId("review-finish").addEventListener("click", () => this.finish());
    byId("save-journal").addEventListener("click", () => this.saveJournal());
    byId("review-trash").addEventListener("click", () => {
      const confirm = byId("review-confirm");
      confirm.textContent = `Move ${counted(this.model.counts().reject, "picture")} to the trash`;
      confirm.hidden = false;
      confirm.focus();
    });
    byId("review-confirm").addEventListener("click", () => this.trash());
    byId("review-restore").addEventListener("click", () => this.request(async () => {
      const { moved } = await this.backend.restore();
      this.tell(`${counted(moved, "picture")} restored`);
    }));
    window.addEventListener("beforeunload", (event) => {
      if (this.model.unsent.length && !this.backend.isOffline) event.preventDefault();
    });
  }
}

/** Return what U did, in words. */
function finishingText(queued, skipped, refused) {
  const reasons = [];
  if (skipped) reasons.push(`${skipped} ${skipped > 1 ? "have a final" : "has a final"} already`);
  if (refused) reasons.push(`${refused} can’t be finished`);
  const told = queued ? `Finishing ${counted(queued, "picture")}` : "Nothing to finish";
  return [told, ...reasons].join("; ");
}

/** Return a key with its modifiers: `Ctrl+Shift+z`, `Digit3`, `Space`. */
function keyName(event) {
  const isDigit = /^Digit\d$/.test(event.code);
  const numpad = /^Numpad(\d)$/.exec(event.code);
  const key = isDigit ? event.code : numpad ? `Digit${numpad[1]}` : event.key === " " ? "Space" : event.key;
  const name = key.length === 1 ? key.toLowerCase() : key;
  return `${event.ctrlKey || event.metaKey ? "Ctrl+" : ""}${event.shiftKey ? "Shift+" : ""}${name}`;
}

const app = new App();
app.start();
