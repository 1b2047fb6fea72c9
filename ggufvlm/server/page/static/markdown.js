// A little Markdown -> elements. Only text nodes hold what a model said; links and images stay text.

import { make } from "./make.js";

/** Draw `text` into `container`; blocks that are there already and did not change stay as they are. */
export function renderMarkdown(container, text) {
  const sources = blocksOf(text);
  const shown = container.blockSources ?? [];
  let same = 0;
  while (same < shown.length && shown[same] === sources[same]) same += 1;
  while (container.childNodes.length > same) container.lastChild.remove();
  for (const source of sources.slice(same)) container.append(blockElement(source));
  container.blockSources = sources;
}

/** Split into blocks: each the source of one element. */
function blocksOf(text) {
  const blocks = [];
  let lines = [];
  let fence = null;
  const flush = () => {
    if (lines.length) blocks.push(lines.join("\n"));
    lines = [];
  };
  for (const line of text.split("\n")) {
    const mark = /^\s*(```+|~~~+)/.exec(line)?.[1];
    if (fence !== null) {
      lines.push(line);
      if (mark && mark.startsWith(fence) && line.trim() === mark) {
        fence = null;
        flush();
      }
    } else if (mark) {
      flush();
      fence = mark;
      lines.push(line);
    } else if (line.trim() === "") {
      flush();
    } else {
      if (lines.length && kindOf(line) !== kindOf(lines[0]) && !/^\s/.test(line) && kindOf(line) !== "text") flush();
      if (lines.length && kindOf(lines[0]) === "heading") flush();
      lines.push(line);
    }
  }
  flush();
  return blocks;
}

const BULLET = /^\s*[-*+•]\s+/;
const NUMBER = /^\s*(\d{1,9})[.)]\s+/;

function kindOf(line) {
  if (/^\s*(```|~~~)/.test(line)) return "fence";
  if (/^#{1,6}\s/.test(line)) return "heading";
  if (/^\s*([-*_])(\s*\1){2,}\s*$/.test(line)) return "rule";
  if (BULLET.test(line)) return "bullets";
  if (NUMBER.test(line)) return "numbers";
  if (/^\s*>/.test(line)) return "quote";
  if (/^\s*\|.*\|\s*$/.test(line)) return "table";
  return "text";
}

function blockElement(source) {
  const lines = source.split("\n");
  switch (kindOf(lines[0])) {
    case "fence":
      return code(lines);
    case "heading": // all of one level below the question: models begin with any, and skip some
      return make("h3", {}, ...inline(lines[0].replace(/^#+\s+|\s*#*\s*$/g, "")));
    case "rule":
      return make("hr");
    case "bullets":
      return list("ul", {}, lines, BULLET);
    case "numbers":
      return list("ol", { start: NUMBER.exec(lines[0])[1] }, lines, NUMBER);
    case "quote":
      return make("blockquote", {}, ...withBreaks(lines.map((line) => line.replace(/^\s*>\s?/, ""))));
    case "table":
      return table(lines);
    default:
      return make("p", {}, ...withBreaks(lines));
  }
}

function code(lines) {
  const mark = /^\s*(```+|~~~+)/.exec(lines[0])[1];
  const closed = lines.length > 1 && lines.at(-1).trim() === mark;
  return make("pre", {}, make("code", {}, lines.slice(1, closed ? -1 : undefined).join("\n")));
}

/** One level; what is indented below an item belongs to it. */
function list(tag, attributes, lines, mark) {
  const items = [];
  for (const line of lines) {
    const begins = mark.test(line) || BULLET.test(line) || NUMBER.test(line);
    if (begins || items.length === 0) items.push([line.replace(mark, "").replace(BULLET, "")]);
    else items.at(-1).push(line.trim());
  }
  return make(tag, attributes, ...items.map((item) => make("li", {}, ...withBreaks(item))));
}

function table(lines) {
  const rows = lines.map((line) => line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim()));
  const ruled = rows.length > 1 && rows[1].every((cell) => /^:?-+:?$/.test(cell));
  const row = (tag, cells) => make("tr", {}, ...cells.map((cell) => make(tag, tag === "th" ? { scope: "col" } : {}, ...inline(cell))));
  if (!ruled) return make("table", {}, make("tbody", {}, ...rows.map((cells) => row("td", cells))));
  return make("table", {}, make("thead", {}, row("th", rows[0])), make("tbody", {}, ...rows.slice(2).map((cells) => row("td", cells))));
}

function withBreaks(lines) {
  return lines.flatMap((line, place) => (place ? [make("br"), ...inline(line)] : inline(line)));
}

const INLINE = /(`+)(.+?)\1(?!`)|\*\*(?=\S)(.+?)(?<=\S)\*\*|__(?=\S)(.+?)(?<=\S)__|\*(?=\S)([^*]+?)(?<=\S)\*|(?<!\w)_(?=\S)([^_]+?)(?<=\S)_(?!\w)/;

function inline(text) {
  const nodes = [];
  let rest = text;
  for (let found = INLINE.exec(rest); found; found = INLINE.exec(rest)) {
    const [all, , coded, strong, strongToo, soft, softToo] = found;
    nodes.push(rest.slice(0, found.index));
    if (coded !== undefined) nodes.push(make("code", {}, coded));
    else if (strong ?? strongToo) nodes.push(make("strong", {}, ...inline(strong ?? strongToo)));
    else nodes.push(make("em", {}, ...inline(soft ?? softToo)));
    rest = rest.slice(found.index + all.length);
  }
  nodes.push(rest);
  return nodes.filter((node) => node !== "");
}
