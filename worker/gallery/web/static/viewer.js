"use strict";

const PRELOADED = 2;
const KEPT_IMAGES = 9;
const STRIP = 11;
const SWIPE_PX = 60;
const LARGEST_ZOOM = 8;

/** Full pictures, decoded before they are shown. */
class Images {
  constructor(urlOf) {
    this.urlOf = urlOf;
    this.loading = new Map();
  }

  /** Return a promise of a decoded image element; it is rejected where the picture can't be shown. */
  get(picture, isUrgent = true) {
    const url = this.urlOf(picture);
    let promise = this.loading.get(url);
    if (promise) this.loading.delete(url); // the oldest in use goes last
    else {
      const image = new Image();
      image.fetchPriority = isUrgent ? "high" : "low";
      image.src = url;
      promise = image.decode().then(() => image);
      promise.catch(() => this.loading.delete(url));
    }
    this.loading.set(url, promise);
    for (const old of this.loading.keys()) {
      if (this.loading.size <= KEPT_IMAGES) break;
      this.loading.delete(old);
    }
    return promise;
  }
}

/** One picture of the viewer. */
class Pane {
  constructor(id) {
    this.id = id;
    this.image = null;
    this.element = document.createElement("div");
    this.element.className = "pane";
    this.placeholder = document.createElement("p");
    this.placeholder.className = "placeholder";
    this.caption = document.createElement("p");
    this.caption.className = "caption";
    this.flag = document.createElement("span");
    this.flag.className = "flag";
    this.text = document.createElement("span");
    this.caption.append(this.flag, this.text);
    this.element.append(this.placeholder, this.caption);
  }

  setImage(image) {
    const own = image.parentNode ? image.cloneNode() : image;
    if (this.image) this.image.replaceWith(own);
    else this.element.prepend(own);
    this.image = own;
    this.placeholder.textContent = "";
  }

  setBroken(picture) {
    this.image?.remove();
    this.image = null;
    this.placeholder.textContent = `${picture.name} can’t be shown`;
  }
}

/** One picture in full, or two to four side by side, with zoom and pan that they share. */
class Viewer {
  constructor(element, { model, backend, onMove, onMark }) {
    this.element = element;
    this.panesElement = element.querySelector("#panes");
    this.strip = element.querySelector("#strip");
    this.model = model;
    this.backend = backend;
    this.onMove = onMove;
    this.onMark = onMark;
    this.images = new Images((picture) => backend.pictureUrl(picture));
    this.panes = [];
    this.active = 0;
    this.view = { zoom: 0, x: 0.5, y: 0.5 };
    this.pointer = null;
    this.pointers = new Map();
    this.isComparing = false;
    new ResizeObserver(() => this.place()).observe(this.panesElement);
    this.listen();
  }

  get isOpen() { return !this.element.hidden; }
  get current() { return this.panes[this.active]?.id; }

  close() {
    this.element.hidden = true;
    this.isComparing = false;
    this.panes = [];
    this.panesElement.replaceChildren();
  }

  /** Show one picture; the one before stays until this one is decoded. */
  async show(id) {
    this.element.hidden = false;
    if (this.isComparing || this.panes.length !== 1) this.setPanes([id]);
    this.isComparing = false;
    const [pane] = this.panes;
    pane.id = id;
    this.active = 0;
    this.view = { zoom: 0, x: 0.5, y: 0.5 };
    this.caption();
    this.showStrip();
    const isShown = this.load(pane);
    this.preload(id);
    await isShown;
  }

  /** Show two to four pictures side by side. */
  async compare(ids) {
    this.element.hidden = false;
    this.isComparing = true;
    this.setPanes(ids);
    this.strip.replaceChildren();
    this.view = { zoom: 0, x: 0.5, y: 0.5 };
    this.caption();
    await Promise.all(this.panes.map((pane) => this.load(pane)));
  }

  setPanes(ids) {
    this.panes = ids.map((id) => new Pane(id));
    this.active = 0;
    this.panesElement.classList.toggle("four", ids.length > 2);
    this.panesElement.replaceChildren(...this.panes.map((pane) => pane.element));
  }

  async load(pane) {
    const { id } = pane;
    const picture = this.model.pictures.get(id);
    if (!picture) return;
    try {
      const image = await this.images.get(picture);
      if (pane.id !== id) return;
      image.alt = describe(picture);
      pane.setImage(image);
    } catch (error) {
      if (!(error instanceof DOMException)) throw error;
      if (pane.id === id) pane.setBroken(picture);
    }
    this.place();
  }

  preload(id) {
    const place = this.model.places.get(id);
    for (let step = 1; step <= PRELOADED; step += 1) {
      for (const other of [place + step, place - step]) {
        const picture = this.model.pictures.get(this.model.shown[other]);
        if (picture) this.images.get(picture, false).catch(() => {});
      }
    }
  }

  caption() {
    for (const [number, pane] of this.panes.entries()) {
      const picture = this.model.pictures.get(pane.id);
      if (!picture) continue;
      const { decision, facts } = picture;
      pane.element.className = `pane is-${decision.flag}`;
      pane.element.classList.toggle("active", number === this.active);
      pane.flag.textContent = `${flagText(decision)} ${FLAG_WORDS[decision.flag]}`;
      const told = [picture.name, facts?.seed && `seed ${facts.seed}`, facts?.checkpoint, decision.note];
      const scores = Object.entries(facts?.scores || {}).map(([name, value]) => `${name} ${Number(value.toFixed(3))}`);
      pane.text.textContent = [...told, ...scores].filter(Boolean).join(" · ");
      if (pane.image) pane.image.alt = describe(picture);
    }
  }

  showStrip() {
    const place = this.model.places.get(this.current) ?? 0;
    const { shown } = this.model;
    const from = Math.max(0, Math.min(place - Math.floor(STRIP / 2), shown.length - STRIP));
    const ids = shown.slice(from, from + STRIP);
    while (this.strip.children.length > ids.length) this.strip.lastElementChild.remove();
    while (this.strip.children.length < ids.length) {
      const image = document.createElement("img");
      image.alt = "";
      image.addEventListener("click", () => this.onMove(image.dataset.id));
      this.strip.append(image);
    }
    for (const [number, id] of ids.entries()) {
      const image = this.strip.children[number];
      const url = this.backend.thumbnailUrl(this.model.pictures.get(id));
      if (image.getAttribute("src") !== url) image.src = url;
      image.dataset.id = id;
      image.className = `is-${this.model.pictures.get(id).decision.flag}`;
      image.classList.toggle("current", id === this.current);
    }
  }

  setActive(number) {
    this.active = (number + this.panes.length) % this.panes.length;
    this.caption();
  }

  // -- zoom and pan: (x, y) is the place in the picture, 0 to 1, that lies in the middle of its pane -------------------

  sizes(pane) {
    const width = this.panesElement.clientWidth && pane.element.clientWidth;
    const height = pane.element.clientHeight;
    const { naturalWidth, naturalHeight } = pane.image;
    const fit = Math.min(width / naturalWidth, height / naturalHeight);
    const first = this.panes.find((one) => one.image)?.image.naturalWidth || naturalWidth;
    const scale = this.view.zoom ? (this.view.zoom * first) / naturalWidth : fit;
    return { width, height, across: naturalWidth * scale, down: naturalHeight * scale, scale, fit };
  }

  place() {
    for (const pane of this.panes) {
      if (!pane.image) continue;
      const { width, height, across, down, scale } = this.sizes(pane);
      const x = across <= width ? 0.5 : clamp(this.view.x, width / 2 / across);
      const y = down <= height ? 0.5 : clamp(this.view.y, height / 2 / down);
      pane.image.style.transform = `translate(${width / 2 - x * across}px, ${height / 2 - y * down}px) scale(${scale})`;
    }
  }

  /** Change the zoom so that what is at a point of the window stays there; 0 fits the picture in. */
  zoomTo(zoom, clientX, clientY) {
    const pane = this.paneAt(clientX, clientY) || this.panes[this.active];
    if (!pane?.image) return;
    const box = pane.element.getBoundingClientRect();
    const before = this.sizes(pane);
    const now = this.centre(before);
    const offsetX = clientX === undefined ? 0 : clientX - box.left - before.width / 2;
    const offsetY = clientY === undefined ? 0 : clientY - box.top - before.height / 2;
    const pointX = Math.min(1, Math.max(0, now.x + offsetX / before.across));
    const pointY = Math.min(1, Math.max(0, now.y + offsetY / before.down));
    this.view.zoom = zoom && Math.min(LARGEST_ZOOM, Math.max(before.fit, zoom));
    const after = this.sizes(pane);
    this.view.x = pointX - offsetX / after.across;
    this.view.y = pointY - offsetY / after.down;
    Object.assign(this.view, this.centre(after));
    this.place();
  }

  centre({ width, height, across, down }) {
    return {
      x: across <= width ? 0.5 : clamp(this.view.x, width / 2 / across),
      y: down <= height ? 0.5 : clamp(this.view.y, height / 2 / down),
    };
  }

  toggleZoom() {
    const { x, y } = this.pointer || {};
    this.zoomTo(this.view.zoom ? 0 : 1 / window.devicePixelRatio, x, y);
  }

  pan(dx, dy) {
    const pane = this.panes.find((one) => one.image);
    if (!pane || !this.view.zoom) return;
    const sizes = this.sizes(pane);
    this.view.x -= dx / sizes.across;
    this.view.y -= dy / sizes.down;
    Object.assign(this.view, this.centre(sizes));
    this.place();
  }

  paneAt(clientX, clientY) {
    if (clientX === undefined) return undefined;
    return this.panes.find(({ element }) => {
      const box = element.getBoundingClientRect();
      return clientX >= box.left && clientX < box.right && clientY >= box.top && clientY < box.bottom;
    });
  }

  listen() {
    const area = this.panesElement;
    area.addEventListener("wheel", (event) => {
      event.preventDefault();
      const pane = this.panes.find((one) => one.image);
      if (!pane) return;
      const factor = event.deltaY < 0 ? 1.2 : 1 / 1.2;
      const { fit } = this.sizes(pane);
      const zoom = (this.view.zoom || fit) * factor;
      this.zoomTo(zoom <= fit ? 0 : zoom, event.clientX, event.clientY);
    }, { passive: false });
    area.addEventListener("dblclick", () => this.toggleZoom());
    area.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      area.setPointerCapture(event.pointerId);
      const start = { x: event.clientX, y: event.clientY };
      this.pointers.set(event.pointerId, { start, last: start });
      this.hasPinched = this.pointers.size > 1;
      const number = this.panes.indexOf(this.paneAt(event.clientX, event.clientY));
      if (number >= 0) this.setActive(number);
    });
    area.addEventListener("pointermove", (event) => {
      this.pointer = { x: event.clientX, y: event.clientY };
      const held = this.pointers.get(event.pointerId);
      if (!held) return;
      const now = { x: event.clientX, y: event.clientY };
      if (this.pointers.size === 2) this.pinch(event.pointerId, now);
      else this.pan(now.x - held.last.x, now.y - held.last.y);
      held.last = now;
    });
    const end = (event) => {
      const held = this.pointers.get(event.pointerId);
      this.pointers.delete(event.pointerId);
      if (!held || event.type === "pointercancel" || event.pointerType !== "touch") return;
      if (this.hasPinched || this.view.zoom || this.isComparing) return;
      this.swipe(event.clientX - held.start.x, event.clientY - held.start.y);
    };
    area.addEventListener("pointerup", end);
    area.addEventListener("pointercancel", end);
  }

  pinch(moved, now) {
    const other = [...this.pointers].find(([id]) => id !== moved)[1].last;
    const { last } = this.pointers.get(moved);
    const pane = this.panes.find((one) => one.image);
    const before = Math.hypot(last.x - other.x, last.y - other.y);
    if (!pane || !before) return;
    const factor = Math.hypot(now.x - other.x, now.y - other.y) / before;
    const { fit } = this.sizes(pane);
    const zoom = (this.view.zoom || fit) * factor;
    this.zoomTo(zoom <= fit ? 0 : zoom, (now.x + other.x) / 2, (now.y + other.y) / 2);
  }

  swipe(dx, dy) {
    if (Math.max(Math.abs(dx), Math.abs(dy)) < SWIPE_PX) return;
    if (Math.abs(dx) > Math.abs(dy)) this.onMove(this.model.shown[this.model.places.get(this.current) + (dx < 0 ? 1 : -1)]);
    else this.onMark(dy < 0 ? "pick" : "reject");
  }
}

function clamp(value, edge) {
  return Math.min(1 - edge, Math.max(edge, value));
}
