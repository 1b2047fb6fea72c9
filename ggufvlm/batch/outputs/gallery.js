"use strict";
const items = Array.from(document.querySelectorAll("li"));
const text = new Map(items.map((item) => [item, item.textContent.toLowerCase()]));
const search = document.querySelector("input[type=search]");
const errorsOnly = document.querySelector("input[type=checkbox]");
const count = document.querySelector("output");
function filter() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const item of items) {
    const fits = words.every((word) => text.get(item).includes(word));
    item.hidden = !fits || (errorsOnly.checked && !item.classList.contains("error"));
    shown += item.hidden ? 0 : 1;
  }
  count.textContent = shown + " of " + items.length;
}
let waiting;
search.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(filter, 120); });
errorsOnly.addEventListener("change", filter);
document.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
filter();
