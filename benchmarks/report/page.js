"use strict";

// The table: a click on a head sorts by its column, a second one the other way round.

const OTHER = { ascending: "descending", descending: "ascending" };

function makeSortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      const direction = OTHER[now] ?? head.dataset.first;
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", direction);
      const isText = head.classList.contains("text");
      const rows = [...table.tBodies[0].rows];
      rows.sort((one, two) => compared(one, two, column, isText, direction));
      table.tBodies[0].append(...rows);
    });
  });
}

function compared(one, two, column, isText, direction) {
  const sign = direction === "ascending" ? 1 : -1;
  const [first, second] = [one, two].map((row) => row.cells[column].dataset.value);
  const last = (row, value) => Number(row.classList.contains("failed") || value === undefined);
  // What failed or is absent comes last, whichever way the others are sorted.
  const absent = last(one, first) - last(two, second);
  if (absent || first === undefined || second === undefined) return absent;
  return sign * (isText ? first.localeCompare(second) : Number(first) - Number(second));
}

// The viewer: one canvas at a time, moved about under a frame. All lengths are pixels of the
// canvas but where they are said to be of the screen.

const LEAST_SCALE = 0.05;
const MOST_SCALE = 64;
const ZOOM_STEP = Math.SQRT2;

const clamped = (value, low, high) => Math.min(Math.max(value, low), high);
const remainder = (value, length) => ((value % length) + length) % length;

class Viewer {
  constructor(root, images) {
    this.root = root;
    this.images = images;
    this.stage = root.querySelector(".stage");
    this.map = root.querySelector(".map");
    this.where = root.querySelector("output");
    this.strategy = root.querySelector("[name=strategy]");
    this.sample = root.querySelector("[name=sample]");
    this.borders = root.querySelector("[name=borders]");
    this.pointers = new Map();
    this.fill(this.strategy, images.map((image) => image.dataset.strategy));
    this.listen();
    this.show(images[0]);
  }

  fill(select, values) {
    select.replaceChildren(...[...new Set(values)].map((value) => new Option(value, value)));
  }

  show(image) {
    this.image = image;
    this.length = { x: image.naturalWidth, y: image.naturalHeight };
    this.wraps = { x: image.dataset.wraps.includes("x"), y: image.dataset.wraps.includes("y") };
    this.strategy.value = image.dataset.strategy;
    const same = this.images.filter((other) => other.dataset.strategy === this.strategy.value);
    this.fill(this.sample, same.map((other) => other.dataset.sample));
    this.sample.value = image.dataset.sample;
    this.reset();
  }

  choose() {
    const same = this.images.filter((image) => image.dataset.strategy === this.strategy.value);
    const asked = same.find((image) => image.dataset.sample === this.sample.value) ?? same[0];
    const { corner, scale, length } = this;
    this.show(asked);
    // To compare two canvases one looks at the same place of both.
    if (length.x === this.length.x && length.y === this.length.y) {
      this.scale = scale;
      this.moveTo(corner.x, corner.y);
    }
  }

  get view() {
    return { x: this.stage.clientWidth / this.scale, y: this.stage.clientHeight / this.scale };
  }

  reset() {
    const fitting = this.stage.clientHeight / this.length.y;
    this.scale = clamped(fitting >= 1 ? Math.floor(fitting) : fitting, LEAST_SCALE, MOST_SCALE);
    this.corner = { x: 0, y: 0 };
    this.moveTo(0, 0);
  }

  // Puts a place of the canvas into the top left corner; says whether that moved anything.
  moveTo(x, y) {
    const before = this.corner;
    this.corner = { x: this.within("x", x), y: this.within("y", y) };
    this.draw();
    return before.x !== this.corner.x || before.y !== this.corner.y;
  }

  moveBy(x, y) {
    return this.moveTo(this.corner.x + x, this.corner.y + y);
  }

  within(axis, place) {
    const [length, view] = [this.length[axis], this.view[axis]];
    if (this.wraps[axis]) return remainder(place, length);
    return length <= view ? (length - view) / 2 : clamped(place, 0, length - view);
  }

  // Keeps the place of the canvas that lies under (left, top) of the screen where it is.
  zoom(factor, left = this.stage.clientWidth / 2, top = this.stage.clientHeight / 2) {
    const under = { x: this.corner.x + left / this.scale, y: this.corner.y + top / this.scale };
    this.scale = clamped(this.scale * factor, LEAST_SCALE, MOST_SCALE);
    this.moveTo(under.x - left / this.scale, under.y - top / this.scale);
  }

  draw() {
    const dots = window.devicePixelRatio || 1;
    this.drawStage(dots);
    this.drawMap(dots);
    const { corner, view, length, scale } = this;
    const end = Math.min(corner.x + view.x, this.wraps.x ? Infinity : length.x);
    const percent = Math.round(100 * scale);
    this.where.textContent =
      `columns ${Math.round(Math.max(corner.x, 0))} to ` +
      `${Math.round(this.wraps.x ? remainder(end, length.x) : end)} of ${length.x}, at ${percent} %`;
    // A finger that moves up or down scrolls the page where nothing is hidden that way.
    this.stage.classList.toggle("high", length.y > view.y + 0.5);
    Object.assign(this.stage.dataset, { x: corner.x, y: corner.y, scale });
  }

  drawStage(dots) {
    const pen = prepared(this.stage, dots);
    const size = this.scale * dots;
    // An enlarged canvas shows its pixels as squares.
    pen.imageSmoothingEnabled = size < 1;
    pen.imageSmoothingQuality = "high";
    for (const top of this.tiles("y")) {
      for (const left of this.tiles("x")) {
        const [from, to] = [left, left + this.length.x].map((x) => Math.round(x * size));
        const [above, below] = [top, top + this.length.y].map((y) => Math.round(y * size));
        pen.drawImage(this.image, from, above, to - from, below - above);
        if (this.borders.checked) this.drawBorders(pen, left, above, below - above, size);
      }
    }
  }

  // Where copies of the canvas begin, seen from the corner: one, or as many as a loop needs.
  tiles(axis) {
    if (!this.wraps[axis]) return [-this.corner[axis]];
    const count = Math.ceil((this.corner[axis] + this.view[axis]) / this.length[axis]);
    return Array.from({ length: count }, (_, turn) => turn * this.length[axis] - this.corner[axis]);
  }

  drawBorders(pen, left, top, height, size) {
    for (const column of this.image.dataset.borders.split(" ").filter(Boolean)) {
      const x = Math.round((left + Number(column)) * size);
      pen.fillStyle = "#000a";
      pen.fillRect(x - 1, top, 2, height);
      pen.fillStyle = "#fffa";
      pen.fillRect(x, top, 1, height);
    }
  }

  drawMap(dots) {
    const { x: width, y: height } = this.length;
    const scale = Math.min(this.root.clientWidth / width, 80 / height);
    // A very long canvas would be too thin to be grasped.
    this.map.style.width = `${width * scale}px`;
    this.map.style.height = `${Math.max(height * scale, 14)}px`;
    const pen = prepared(this.map, dots);
    const [across, down] = [this.map.width / width, this.map.height / height];
    pen.drawImage(this.image, 0, 0, this.map.width, this.map.height);
    for (const turn of this.wraps.x ? [0, -width] : [0]) {
      for (const fall of this.wraps.y ? [0, -height] : [0]) {
        frame(
          pen,
          (this.corner.x + turn) * across,
          (this.corner.y + fall) * down,
          this.view.x * across,
          this.view.y * down,
          dots,
        );
      }
    }
  }

  listen() {
    const redraw = () => this.moveBy(0, 0);
    this.strategy.addEventListener("change", () => this.choose());
    this.sample.addEventListener("change", () => this.choose());
    this.borders.addEventListener("change", redraw);
    const acts = {
      out: () => this.zoom(1 / ZOOM_STEP),
      in: () => this.zoom(ZOOM_STEP),
      full: () => this.zoom(1 / this.scale),
      fit: () => this.reset(),
    };
    for (const button of this.root.querySelectorAll("button")) {
      button.addEventListener("click", acts[button.name]);
    }
    this.stage.addEventListener("keydown", (event) => this.onKey(event));
    this.stage.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    this.stage.addEventListener("pointerdown", (event) => this.onPress(event));
    this.stage.addEventListener("pointermove", (event) => this.onDrag(event));
    for (const end of ["pointerup", "pointercancel"]) {
      this.stage.addEventListener(end, (event) => this.pointers.delete(event.pointerId));
    }
    for (const kind of ["pointerdown", "pointermove"]) {
      this.map.addEventListener(kind, (event) => this.onMap(event));
    }
    new ResizeObserver(redraw).observe(this.root);
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const part = event.shiftKey ? 1 : 1 / 8;
    const [across, down] = [part * this.view.x, part * this.view.y];
    const acts = {
      ArrowLeft: () => this.moveBy(-across, 0),
      ArrowRight: () => this.moveBy(across, 0),
      ArrowUp: () => this.moveBy(0, -down),
      ArrowDown: () => this.moveBy(0, down),
      Home: () => this.moveTo(0, this.corner.y),
      End: () => this.moveTo(this.length.x - this.view.x, this.corner.y),
      "+": () => this.zoom(ZOOM_STEP),
      "=": () => this.zoom(ZOOM_STEP),
      "-": () => this.zoom(1 / ZOOM_STEP),
      0: () => this.reset(),
    };
    if (!(event.key in acts)) return;
    acts[event.key]();
    event.preventDefault();
  }

  // A wheel scrolls the page until the stage is chosen; then, and always sideways, the canvas.
  onWheel(event) {
    const unit = [1, 16, this.stage.clientWidth][event.deltaMode];
    if (event.ctrlKey) {
      this.zoom(Math.exp(-0.01 * unit * event.deltaY), event.offsetX, event.offsetY);
      event.preventDefault();
      return;
    }
    const sideways = event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY);
    if (!sideways && document.activeElement !== this.stage) return;
    const isHigh = this.length.y > this.view.y + 0.5;
    const step = (unit * (event.deltaX || event.deltaY)) / this.scale;
    const moved = !sideways && isHigh ? this.moveBy(0, step) : this.moveBy(step, 0);
    if (moved) event.preventDefault();
  }

  onPress(event) {
    if (event.button !== 0) return;
    this.stage.focus({ preventScroll: true });
    this.stage.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
  }

  // One pointer drags, two pinch.
  onDrag(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = { x: event.offsetX, y: event.offsetY };
    this.pointers.set(event.pointerId, now);
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const apart = (point) => Math.max(Math.hypot(point.x - other.x, point.y - other.y), 1);
      this.zoom(apart(now) / apart(before), (now.x + other.x) / 2, (now.y + other.y) / 2);
    } else {
      this.moveBy((before.x - now.x) / this.scale, (before.y - now.y) / this.scale);
    }
  }

  onMap(event) {
    if (event.buttons !== 1) return;
    this.map.setPointerCapture(event.pointerId);
    const x = (event.offsetX / this.map.clientWidth) * this.length.x;
    const y = (event.offsetY / this.map.clientHeight) * this.length.y;
    this.moveTo(x - this.view.x / 2, y - this.view.y / 2);
  }
}

function prepared(canvas, dots) {
  canvas.width = Math.round(canvas.clientWidth * dots);
  canvas.height = Math.round(canvas.clientHeight * dots);
  return canvas.getContext("2d");
}

function frame(pen, x, y, width, height, dots) {
  for (const [colour, line] of [["#000", 4], ["#fff", 2]]) {
    pen.strokeStyle = colour;
    pen.lineWidth = line * dots;
    pen.strokeRect(x + dots, y + dots, width - 2 * dots, height - 2 * dots);
  }
}

async function makeViewer(root) {
  const images = [...document.querySelectorAll(".strip img")];
  await Promise.all(images.map((image) => image.decode()));
  root.hidden = false;
  const viewer = new Viewer(root, images);
  for (const link of document.querySelectorAll("a.strip")) {
    link.addEventListener("click", (event) => {
      // The link itself would take the focus away from the stage.
      event.preventDefault();
      viewer.show(link.querySelector("img"));
      root.scrollIntoView();
      viewer.stage.focus({ preventScroll: true });
    });
  }
  root.dataset.ready = "yes";
}

document.querySelectorAll("table.figures").forEach(makeSortable);
const viewer = document.getElementById("viewer");
if (viewer) makeViewer(viewer);
