// Places that a model names in JSON -> boxes over the image.

import { make } from "./make.js";

// Light enough for dark letters (contrast 8 and more), far enough apart, each with a dark rim in the style sheet.
const COLORS = ["#ffd166", "#7bdff2", "#ffa8a8", "#b5e48c", "#d3bdff", "#ffb877", "#f9aee0", "#9bf6d4"];

const LEAST_WIDTH = 440;
const MOST_HEIGHT = 560;

// {"bbox_2d": ...}, or what is left of Qwen2-VL's boxes where control tokens are not shown: cat(12,20),(300,400).
const MARKS = /\{[^{}]*\}|([^\n(){}[\],;]*)\((\d+),\s*(\d+)\),\s*\((\d+),\s*(\d+)\)/g;

/**
 * The places in an answer: {places, rest}. A place is {label, box: [left, top, right, bottom]}, in shares of the
 * image; a point has left = right. `rest` is what the answer says besides. Read as far as it has come.
 *
 * Understood: bbox_2d and point_2d (x first), box_2d (y first), pairs of corners. `scale` is the number that stands for
 * the whole width and height; null: the model's numbers are pixels of an image that only it has seen, nothing is drawn.
 * Undefined: nobody knows, and thousandths or shares of one are assumed, as most models write them.
 */
export function findPlaces(text, scale) {
  const places = [];
  let start = text.length;
  let end = 0;
  for (const found of scale === null ? [] : text.matchAll(MARKS)) {
    const place = found[2] === undefined ? placeInJSON(found[0], scale) : placeInPairs(found, scale);
    if (place === null) continue;
    places.push(place);
    start = Math.min(start, found.index);
    end = found.index + found[0].length;
  }
  if (places.length === 0) return { places, rest: text };
  const before = text.slice(0, start).replace(/(```\w*\s*)?\[?\s*$/, "");
  const after = text.slice(end).replace(/^\s*(,[\s\S]*?)?(\]\s*(```)?|$)/, "");
  return { places: withColors(places), rest: `${before.trim()}\n\n${after.trim()}`.trim() };
}

function placeInJSON(source, scale) {
  let entry;
  try {
    entry = JSON.parse(source);
  } catch {
    return null;
  }
  const numbers = entry.bbox_2d ?? entry.point_2d ?? (Array.isArray(entry.box_2d) ? swapped(entry.box_2d) : null);
  if (!Array.isArray(numbers) || ![2, 4].includes(numbers.length) || !numbers.every(Number.isFinite)) return null;
  const label = [entry.label, entry.text_content, entry.text].find((name) => typeof name === "string") ?? "";
  return placeOf(label, numbers, scale ?? (Math.max(...numbers) <= 1 ? 1 : 1000));
}

function placeInPairs([, label, ...numbers], scale) {
  return scale === undefined ? null : placeOf(label.trim(), numbers.map(Number), scale);
}

function placeOf(label, numbers, scale) {
  if (Math.max(...numbers) > scale || Math.min(...numbers) < 0) return null;
  const [left, top, right = left, bottom = top] = numbers.map((number) => number / scale);
  return { label, box: [Math.min(left, right), Math.min(top, bottom), Math.max(left, right), Math.max(top, bottom)] };
}

function swapped([top, left, bottom, right]) {
  return [left, top, right, bottom];
}

/** The same thing has the same colour. */
function withColors(places) {
  const labels = [...new Set(places.map((place) => place.label))];
  return places.map((place, n) => ({ ...place, color: COLORS[(labels.length > 1 ? labels.indexOf(place.label) : n) % COLORS.length] }));
}

const percent = (share) => `${(100 * share).toFixed(2)}%`;

/** A figure: the image with its boxes, and their names below as buttons that pick one out. */
export function drawPlaces(image, places) {
  const figure = make("figure", { class: "found" });
  const parts = image.url === null ? [] : [canvas(image, places, figure)];
  figure.append(...parts, legend(places, figure));
  return figure;
}

function canvas(image, places, figure) {
  const alt = `${image.name}, with ${places.length === 1 ? "1 place" : `${places.length} places`} marked`;
  const drawing = make("img", { src: image.url, alt, width: image.width, height: image.height });
  // A small image is enlarged, so that its boxes can be told apart.
  drawing.style.width = `${Math.min(Math.max(image.width, LEAST_WIDTH), (MOST_HEIGHT * image.width) / image.height)}px`;
  const area = make("div", { class: "canvas" }, drawing);
  places.forEach((place, n) => area.append(frame(place, n)));
  places.forEach((place, n) => place.label && area.append(nameTag(place, n)));
  figure.canvas = area;
  return area;
}

function frame({ box: [left, top, right, bottom], label, color }, n) {
  const isPoint = left === right && top === bottom;
  const element = make("div", { class: isPoint ? "box point" : "box", "data-n": n, "data-label": label, "aria-hidden": "true" });
  Object.assign(element.style, { left: percent(left), top: percent(top), borderColor: color });
  if (!isPoint) Object.assign(element.style, { width: percent(right - left), height: percent(bottom - top) });
  return element;
}

function nameTag({ box: [left, top], label, color }, n) {
  const element = make("span", { class: "name", "data-n": n, "aria-hidden": "true" }, label);
  element.style.background = color;
  // Above the box if there is room, else inside it.
  Object.assign(element.style, top > 0.09 ? { bottom: percent(1 - top) } : { top: percent(top) });
  Object.assign(element.style, { left: percent(left), maxWidth: percent(1 - left) });
  return element;
}

function legend(places, figure) {
  const names = new Map();
  places.forEach((place, n) => names.set(place.label, [...(names.get(place.label) ?? []), n]));
  const rows = names.size === 1 && places.length > 1 ? places.map((place, n) => [place.label, [n]]) : [...names];
  return make("ul", { class: "legend", "aria-label": "Found" }, ...rows.map(([label, members]) => {
    const dot = make("span", { class: "dot" });
    dot.style.background = places[members[0]].color;
    const text = `${label || "unnamed"}${members.length > 1 ? ` × ${members.length}` : ""}`;
    const where = make("span", { class: "hidden" }, ` ${members.map((n) => placeInWords(places[n].box)).join("; ")}`);
    const button = make("button", { type: "button", "aria-pressed": "false" }, dot, text, where);
    const pick = (on) => pickOut(figure, on ? members : null);
    button.addEventListener("mouseenter", () => pick(true));
    button.addEventListener("mouseleave", () => pickPressed(figure));
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      for (const other of figure.querySelectorAll(".legend button")) other.setAttribute("aria-pressed", "false");
      button.setAttribute("aria-pressed", String(on));
      pick(on);
    });
    button.members = members;
    return make("li", {}, button);
  }));
}

function pickPressed(figure) {
  pickOut(figure, figure.querySelector('.legend [aria-pressed="true"]')?.members ?? null);
}

function pickOut(figure, members) {
  figure.classList.toggle("picking", members !== null);
  for (const part of figure.querySelectorAll("[data-n]")) part.classList.toggle("picked", members?.includes(Number(part.dataset.n)) ?? false);
}

function placeInWords([left, top, right, bottom]) {
  const whole = (share) => Math.round(100 * share);
  if (left === right && top === bottom) return `at ${whole(left)} % from the left, ${whole(top)} % from the top`;
  return `from ${whole(left)} to ${whole(right)} % of the width, ${whole(top)} to ${whole(bottom)} % of the height`;
}
