// One question and its answer on the page.

import { drawPlaces, findPlaces } from "./boxes.js";
import { make } from "./make.js";
import { renderMarkdown } from "./markdown.js";

export class Turn {
  /**
   * `images` are shown with the question; `looksAt` are those that the answer is about; `scale` is how the model
   * writes boxes, see findPlaces.
   */
  constructor(question, images, looksAt, scale) {
    this.text = "";
    this.scale = scale;
    this.looksAt = looksAt;
    this.chosen = 0;
    this.drawn = "";
    this.boxes = make("div");
    this.prose = make("div");
    this.raw = make("code");
    this.waiting = make("div", { class: "waiting" }, make("i"), make("i"), make("i"));
    this.details = make("details", { hidden: true }, make("summary", {}, "Answer as text"), make("pre", {}, this.raw));
    this.answer = make("div", { class: "answer", "aria-live": "polite", "aria-busy": "true" }, this.boxes, this.prose, this.waiting);
    this.foot = make("p", { class: "foot" });
    this.element = make("article", { class: "turn", "aria-label": question }, imageList(images), make("h2", { class: "asked" }, question), this.answer, this.details, this.foot);
  }

  add(text) {
    this.text += text;
    this.waiting.hidden = true;
    if (!this.frame) {
      this.frame = requestAnimationFrame(() => {
        this.frame = null;
        this.draw();
      });
    }
  }

  draw() {
    const { places, rest } = findPlaces(this.text, this.scale);
    const state = JSON.stringify([places, this.chosen]);
    if (state !== this.drawn) this.drawBoxes(places);
    this.drawn = state;
    // Boxes that are still being written would flicker as text.
    renderMarkdown(this.prose, places.length === 0 && /^\s*(```json\s*)?\[?\s*\{/.test(this.text) && this.isRunning ? "" : rest);
    this.raw.textContent = this.text;
    this.details.hidden = places.length === 0;
  }

  get isRunning() {
    return this.answer.getAttribute("aria-busy") === "true";
  }

  drawBoxes(places) {
    if (places.length === 0 || this.looksAt.length === 0) {
      this.boxes.replaceChildren();
      return;
    }
    this.boxes.replaceChildren(...this.switches(), drawPlaces(this.looksAt[this.chosen], places));
  }

  /** The answer does not say which image its boxes are on; the user can. */
  switches() {
    if (this.looksAt.length < 2) return [];
    const buttons = this.looksAt.map((image, n) => make("button", {
      type: "button",
      "aria-pressed": String(n === this.chosen),
      onclick: () => {
        this.chosen = n;
        this.draw();
        this.boxes.querySelectorAll(".which button")[n].focus();
      },
    }, `Image ${n + 1}`));
    return [make("div", { class: "which", role: "group", "aria-label": "Show the boxes on" }, "Boxes on", ...buttons)];
  }

  /** The answer is complete, or stopped. `remarks` are short lines below it. */
  end(remarks) {
    cancelAnimationFrame(this.frame);
    this.answer.setAttribute("aria-busy", "false");
    this.waiting.remove();
    this.draw();
    this.foot.append(...this.copyButton(), ...remarks.map((remark) => make("span", {}, remark)));
  }

  copyButton() {
    if (!navigator.clipboard || !this.text) return [];
    const button = make("button", {
      type: "button",
      onclick: async () => {
        await navigator.clipboard.writeText(this.text);
        button.textContent = "Copied";
      },
    }, "Copy");
    return [button];
  }

  showTrouble(message) {
    this.foot.before(make("p", { class: "trouble" }, message));
  }
}

function imageList(images) {
  if (images.length === 0) return null;
  const items = images.map((image) => make("li", {}, imageElement(image)));
  return make("ul", { class: images.length > 1 ? "images several" : "images", "aria-label": "Images" }, ...items);
}

/** The image, or its name where this browser cannot show it. */
export function imageElement(image) {
  if (image.url === null) return make("span", { class: "file" }, image.name);
  return make("img", { src: image.url, alt: image.name, width: image.width, height: image.height });
}
