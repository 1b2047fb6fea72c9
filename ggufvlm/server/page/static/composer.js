// The line at the bottom: images for the next question, its text, suggestions, trouble.

import { icon, make } from "./make.js";
import { filesOf, readImage } from "./images.js";
import { imageElement } from "./turn.js";

const IDEAS = ["Describe this image.", "Detect all objects.", "What does the text say?"];
const IDEAS_FOR_SEVERAL = ["Describe each image.", "What has changed?"];
const CROSS = "M6 6l12 12M18 6L6 18";
const byId = (id) => document.getElementById(id);
const isTouch = () => matchMedia("(pointer: coarse)").matches;

export class Composer {
  /** `onSend(question, images)` is called when there is something to send. */
  constructor(onSend) {
    this.onSend = onSend;
    this.images = [];
    this.isBusy = false;
    this.question = byId("question");
    this.listen();
    this.draw();
  }

  listen() {
    const files = byId("files");
    const choose = () => files.click();
    byId("zone").addEventListener("click", choose);
    byId("add").addEventListener("click", choose);
    files.addEventListener("change", async () => {
      const chosen = [...files.files];
      files.value = ""; // the same file can be chosen again
      await this.addFiles(chosen);
    });
    document.addEventListener("paste", (event) => {
      const pasted = filesOf(event.clipboardData);
      if (pasted.length === 0) return;
      event.preventDefault();
      this.addFiles(pasted);
    });
    this.listenForDrops();
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.send(this.question.value);
    });
    this.question.addEventListener("input", () => this.draw());
    this.question.addEventListener("keydown", (event) => {
      // On a phone the key makes a new line, and the button sends.
      const sends = event.key === "Enter" && !event.shiftKey && !event.isComposing && !isTouch();
      if (!sends) return;
      event.preventDefault();
      this.send(this.question.value);
    });
  }

  listenForDrops() {
    const veil = byId("veil");
    let depth = 0; // enter and leave come for every element on the way
    const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
    addEventListener("dragenter", (event) => {
      if (!hasFiles(event)) return;
      depth += 1;
      veil.hidden = false;
    });
    addEventListener("dragleave", (event) => {
      if (!hasFiles(event)) return;
      depth -= 1;
      veil.hidden = depth > 0 ? veil.hidden : true;
    });
    addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
    addEventListener("drop", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      depth = 0;
      veil.hidden = true;
      this.addFiles(filesOf(event.dataTransfer));
    });
  }

  async addFiles(files) {
    this.showTrouble("");
    for (const file of files) {
      try {
        this.images.push(await readImage(file));
      } catch (error) {
        this.showTrouble(error.message);
      }
    }
    this.draw();
    if (!isTouch()) this.question.focus(); // there it would bring up a keyboard over the image
  }

  send(text) {
    const question = text.trim();
    if (this.isBusy || !question) return;
    const images = this.images;
    this.images = [];
    this.question.value = "";
    this.showTrouble("");
    this.draw();
    this.onSend(question, images);
  }

  /** Put back what could not be sent. */
  restore(question, images) {
    this.images = [...images, ...this.images];
    if (!this.question.value) this.question.value = question;
    this.draw();
  }

  setBusy(isBusy) {
    const hadFocus = [byId("send"), byId("stop")].includes(document.activeElement);
    this.isBusy = isBusy;
    byId("send").hidden = isBusy;
    byId("stop").hidden = !isBusy;
    this.draw();
    if (hadFocus) (isBusy ? byId("stop") : this.question).focus();
  }

  showTrouble(message) {
    const line = byId("trouble");
    line.hidden = message === "";
    line.textContent = message;
  }

  askForKey() {
    byId("keyline").hidden = false;
    byId("key").focus();
  }

  hideKey() {
    if (document.activeElement === byId("key")) this.question.focus();
    byId("keyline").hidden = true;
  }

  draw() {
    byId("send").disabled = this.question.value.trim() === "";
    this.question.style.height = "auto";
    this.question.style.height = `${this.question.scrollHeight}px`;
    this.drawStaged();
    this.drawPreview();
    this.drawIdeas();
  }

  /** Before the first question there is room to show the images large. */
  drawPreview() {
    const shown = this.images.filter((image) => image.url !== null);
    byId("zone").hidden = this.images.length > 0;
    byId("preview").hidden = shown.length === 0;
    byId("preview").className = shown.length > 1 ? "several" : "";
    const elements = shown.map((image) => make("img", { src: image.url, alt: "", width: image.width, height: image.height }));
    byId("preview").replaceChildren(...elements);
  }

  drawStaged() {
    const staged = byId("staged");
    staged.hidden = this.images.length === 0;
    staged.replaceChildren(...this.images.map((image, n) => make("li", {}, imageElement(image), make("button", {
      type: "button",
      "aria-label": `Remove ${image.name}`,
      onclick: () => {
        this.images.splice(n, 1);
        this.draw();
        this.question.focus();
      },
    }, icon(CROSS)))));
  }

  drawIdeas() {
    const ideas = byId("ideas");
    ideas.hidden = this.images.length === 0 || this.question.value !== "" || this.isBusy;
    const list = this.images.length > 1 ? IDEAS_FOR_SEVERAL : IDEAS;
    ideas.replaceChildren(...list.map((idea) => make("button", { type: "button", onclick: () => this.send(idea) }, idea)));
  }
}
