"use strict";

const GAP = 8;
const CAPTION = 22;
const HEADING = 36;
const MOST_CELLS = 400;

/** A grid of which only the rows near the window are in the document. */
class Grid {
  constructor(scroller, element, { model, thumbnailUrl, taskOf, isSelected }) {
    this.scroller = scroller;
    this.element = element;
    this.model = model;
    this.thumbnailUrl = thumbnailUrl;
    this.taskOf = taskOf;
    this.isSelected = isSelected;
    this.size = 208;
    this.current = null;
    this.rows = [];
    this.rendered = new Map();
    this.spare = [];
    this.columns = 1;
    this.margin = 0;
    this.height = 0;
    this.isDue = false;
    scroller.addEventListener("scroll", () => this.renderSoon(), { passive: true });
    new ResizeObserver(() => this.layout()).observe(scroller);
  }

  /** Compute all rows from what is shown; afterwards the scroll height is final. */
  layout() {
    const width = this.scroller.clientWidth;
    if (!width) return;
    this.height = this.scroller.clientHeight;
    this.columns = Math.max(1, Math.floor((width - GAP) / (this.size + GAP)));
    this.margin = Math.max(0, Math.floor((width + GAP - this.columns * (this.size + GAP)) / 2));
    this.rows = [];
    let top = GAP;
    const { shown, headings } = this.model;
    for (let start = 0; start < shown.length;) {
      const heading = headings.get(start);
      if (heading !== undefined) {
        this.rows.push({ top, height: HEADING, heading, start, count: 0 });
        top += HEADING;
      }
      let count = 1;
      while (count < this.columns && start + count < shown.length && !headings.has(start + count)) count += 1;
      const height = this.size + CAPTION + GAP;
      this.rows.push({ top, height, start, count });
      top += height;
      start += count;
    }
    this.element.style.height = `${top}px`;
    this.element.setAttribute("aria-rowcount", this.rows.length);
    this.element.setAttribute("aria-colcount", this.columns);
    for (const number of [...this.rendered.keys()]) this.release(number);
    this.render();
  }

  renderSoon() {
    if (this.isDue) return;
    this.isDue = true;
    requestAnimationFrame(() => {
      this.isDue = false;
      this.render();
    });
  }

  /** Put the rows near the window into the document, and take the others out. */
  render() {
    const top = this.scroller.scrollTop;
    const first = this.rowAt(top);
    const last = this.rowAt(top + this.height);
    const visible = (last - first + 1) * this.columns;
    const spare = Math.max(1, Math.floor((MOST_CELLS - this.columns - visible) / this.columns / 2));
    const screen = Math.max(1, last - first);
    const from = Math.max(0, first - Math.min(screen, spare));
    const to = Math.min(this.rows.length - 1, last + Math.min(screen, spare));
    const cursor = this.rowOf(this.model.places.get(this.current));
    for (const number of [...this.rendered.keys()]) {
      if ((number < from || number > to) && number !== cursor) this.release(number);
    }
    for (let number = from; number <= to; number += 1) this.show(number);
    if (cursor >= 0) this.show(cursor);
  }

  /** Return the number of the last row that begins at or before a height. */
  rowAt(height) {
    let low = 0;
    let high = this.rows.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.rows[middle].top <= height) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  rowOf(place) {
    if (place === undefined || !this.rows.length) return -1;
    let low = 0;
    let high = this.rows.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.rows[middle].start <= place) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  show(number) {
    if (this.rendered.has(number)) return;
    const row = this.rows[number];
    if (!row) return;
    const element = this.spare.pop() || document.createElement("div");
    element.className = row.heading === undefined ? "row" : "row heading";
    element.setAttribute("role", "row");
    element.setAttribute("aria-rowindex", number + 1);
    element.style.transform = `translateY(${row.top}px)`;
    element.style.height = `${row.height}px`;
    if (row.heading !== undefined) {
      const cell = document.createElement("div");
      cell.setAttribute("role", "rowheader");
      cell.textContent = row.heading;
      element.replaceChildren(cell);
    } else {
      if (element.querySelector("[role=rowheader]")) element.replaceChildren();
      while (element.children.length > row.count) element.lastElementChild.remove();
      while (element.children.length < row.count) element.append(this.newCell());
      for (let column = 0; column < row.count; column += 1) {
        this.fill(element.children[column], this.model.shown[row.start + column], column);
      }
    }
    if (element.parentNode !== this.element) this.element.append(element);
    this.rendered.set(number, element);
  }

  release(number) {
    const element = this.rendered.get(number);
    this.rendered.delete(number);
    for (const image of element.querySelectorAll("img")) image.removeAttribute("src"); // cancels its request
    element.remove();
    this.spare.push(element);
  }

  newCell() {
    const cell = document.createElement("div");
    cell.setAttribute("role", "gridcell");
    const image = document.createElement("img");
    image.decoding = "async";
    image.draggable = false;
    image.addEventListener("error", () => cell.classList.toggle("broken", image.hasAttribute("src")));
    const caption = document.createElement("div");
    caption.className = "caption";
    const name = document.createElement("span");
    name.className = "name";
    const flag = document.createElement("span");
    flag.className = "flag";
    const bar = document.createElement("div");
    bar.className = "bar";
    caption.append(name, flag);
    cell.append(image, bar, caption);
    return cell;
  }

  fill(cell, id, column) {
    const picture = this.model.pictures.get(id);
    if (!picture) return;
    const isOther = cell.dataset.id !== id;
    cell.dataset.id = id;
    cell.id = `cell-${id}`;
    cell.setAttribute("aria-colindex", column + 1);
    cell.setAttribute("aria-label", describe(picture));
    cell.setAttribute("aria-selected", String(this.isSelected(id)));
    const { flag, label } = picture.decision;
    const isBroken = !isOther && cell.classList.contains("broken");
    cell.className = `cell is-${flag} label-${label}`;
    cell.classList.toggle("broken", isBroken);
    cell.classList.toggle("selected", this.isSelected(id));
    cell.classList.toggle("current", id === this.current);
    cell.style.transform = `translateX(${this.margin + column * (this.size + GAP)}px)`;
    cell.style.width = `${this.size}px`;
    cell.style.height = `${this.size + CAPTION}px`;
    const [image, bar, caption] = cell.children;
    image.style.height = `${this.size - 4}px`;
    image.alt = "";
    const url = this.thumbnailUrl(picture);
    if (image.getAttribute("src") !== url) image.src = url;
    caption.children[0].textContent = picture.name.slice(picture.name.lastIndexOf("/") + 1);
    caption.children[1].textContent = flagText(picture.decision);
    const task = this.taskOf(id);
    bar.style.transform = `scaleX(${task ? Math.max(0.03, task.percent / 100) : 0})`;
  }

  /** Draw pictures anew whose decisions or jobs have changed. */
  refresh(ids) {
    const wanted = ids && new Set(ids);
    for (const [number, element] of this.rendered) {
      const row = this.rows[number];
      for (let column = 0; column < row.count; column += 1) {
        const id = this.model.shown[row.start + column];
        if (!wanted || wanted.has(id)) this.fill(element.children[column], id, column);
      }
    }
  }

  /** Move the cursor and bring it into the window. */
  setCurrent(id) {
    const before = this.current;
    this.current = id;
    const row = this.rows[this.rowOf(this.model.places.get(id))];
    if (row) {
      const top = this.scroller.scrollTop;
      if (row.top < top) this.scroller.scrollTop = row.top - GAP;
      else if (row.top + row.height > top + this.height) this.scroller.scrollTop = row.top + row.height - this.height;
    }
    this.render();
    this.refresh([before, id]);
    if (id) this.element.setAttribute("aria-activedescendant", `cell-${id}`);
    else this.element.removeAttribute("aria-activedescendant");
  }

  pageRows() {
    return Math.max(1, Math.floor(this.height / (this.size + CAPTION + GAP)));
  }
}
