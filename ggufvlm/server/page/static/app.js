// The page: a dialogue with the server about images.

import { Composer } from "./composer.js";
import { make } from "./make.js";
import { ask, listModels, setKey } from "./server.js";
import { Turn } from "./turn.js";

const byId = (id) => document.getElementById(id);
let messages = []; // what the server is sent again with each question
let sent = []; // all images in them
let lookedAt = []; // those of the last question that had any
let running = null;
let scales = new Map(); // how each model writes boxes

const composer = new Composer(answer);

async function answer(question, images) {
  const before = lookedAt;
  lookedAt = images.length ? images : lookedAt;
  const turn = new Turn(question, images, lookedAt, scales.get(byId("model").value));
  const asked = { role: "user", content: contentOf(question, images) };
  begin(turn);
  try {
    turn.end(await follow(turn, [...messages, asked]));
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const wasStopped = error.name === "AbortError";
    if (!turn.element.isConnected) {
      // a new dialogue was begun: what was asked in the old one is gone with it
    } else if (turn.text === "") {
      takeBack(turn, question, images, before);
      composer.showTrouble(wasStopped ? "" : withName(error.message, [...sent, ...images]));
    } else {
      turn.end(wasStopped ? ["Stopped."] : []);
      if (!wasStopped) turn.showTrouble(error.message);
    }
    if (error.needsKey) composer.askForKey();
  }
  if (turn.element.isConnected) {
    messages.push(asked, { role: "assistant", content: turn.text });
    sent.push(...images);
  }
  finish(turn);
}

/** The server counts images; here they have names. */
function withName(message, images) {
  return message.replace(/^image (\d+):/, (all, n) => (images[n - 1] ? `${images[n - 1].name}:` : all));
}

/** Read the answer to its end; what there is to remark on it. */
async function follow(turn, dialogue) {
  const started = performance.now();
  let finish = "";
  let usage = null;
  for await (const piece of ask(byId("model").value, dialogue, running.signal)) {
    if (piece.text) {
      const sticks = isAtBottom();
      turn.add(piece.text);
      if (sticks) requestAnimationFrame(toBottom);
    }
    finish = piece.finish ?? finish;
    usage = piece.usage ?? usage;
  }
  const remarks = remarksOn(finish, usage, performance.now() - started);
  return turn.text.trim() === "" ? ["The model said nothing.", ...remarks] : remarks;
}

function remarksOn(finish, usage, milliseconds) {
  const seconds = (milliseconds / 1000).toFixed(milliseconds < 9950 ? 1 : 0);
  const remarks = usage ? [`${usage.completion_tokens} tokens in ${seconds} s`] : [];
  if (finish === "length" || finish === "max_tokens") remarks.push("Cut at the limit of its length.");
  if (finish === "context") remarks.push("Cut: the context is full.");
  if (finish === "repetition") remarks.push("Stopped: it was in a repetition loop.");
  return remarks;
}

/** Images first, then the question: what most models were trained on. */
function contentOf(question, images) {
  const parts = images.map((image) => ({ type: "image_url", image_url: { url: image.dataUri } }));
  return parts.length ? [...parts, { type: "text", text: question }] : question;
}

function begin(turn) {
  running = new AbortController();
  byId("start").hidden = true;
  byId("anew").hidden = false;
  byId("turns").append(turn.element);
  byId("status").textContent = "The answer is being made.";
  composer.setBusy(true);
  requestAnimationFrame(toBottom);
}

function finish(turn) {
  running = null;
  byId("status").textContent = turn.element.isConnected ? "The answer is complete." : "";
  composer.setBusy(false);
  byId("anew").hidden = messages.length === 0;
  byId("start").hidden = byId("turns").childElementCount > 0;
  if (isAtBottom(260)) requestAnimationFrame(toBottom);
}

/** Nothing came: question and images go back to where they can be sent again. */
function takeBack(turn, question, images, before) {
  lookedAt = before;
  turn.element.remove();
  composer.restore(question, images);
}

function isAtBottom(slack = 120) {
  const page = document.scrollingElement;
  return page.scrollHeight - page.scrollTop - page.clientHeight < slack;
}

function toBottom() {
  document.scrollingElement.scrollTop = document.scrollingElement.scrollHeight;
}

async function fillModels() {
  const select = byId("model");
  try {
    const models = await listModels();
    const names = models.map((model) => model.name);
    scales = new Map(models.map((model) => [model.name, model.scale]));
    select.replaceChildren(...names.map((name) => make("option", { value: name }, name)));
    select.disabled = names.length === 0;
    select.classList.toggle("only", names.length === 1);
    composer.showTrouble(names.length ? "" : "This server has no model.");
    composer.hideKey();
  } catch (error) {
    composer.showTrouble(error.message);
    if (error.needsKey) composer.askForKey();
  }
}

byId("stop").addEventListener("click", () => running?.abort());
addEventListener("keydown", (event) => {
  if (event.key === "Escape") running?.abort();
});
byId("anew").addEventListener("click", () => {
  running?.abort();
  messages = [];
  sent = [];
  lookedAt = [];
  byId("turns").replaceChildren();
  byId("anew").hidden = true;
  byId("start").hidden = false;
  byId("question").focus();
});
byId("key").addEventListener("change", async (event) => {
  setKey(event.target.value);
  await fillModels();
});

await fillModels();
