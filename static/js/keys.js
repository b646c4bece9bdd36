// Single-letter keys. A control says its key with data-key="t", a link that `g` leads to with data-go="w".
// J and K move a cursor (data-cursor) through the [data-list]s of the page, X picks, Enter opens, ? shows the sheet.
const SWITCH = "isekai-keys";
let before = "", anchor = null;

const rows = () => [...document.querySelectorAll("[data-list] > *")].filter(row => row.offsetParent);
const cursor = () => document.querySelector("[data-list] > [data-cursor]");
const typing = element => element.closest?.("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]");

function move(step) {
  const all = rows(), at = all.indexOf(cursor());
  const next = all[Math.min(all.length - 1, Math.max(0, at < 0 ? 0 : at + step))];
  cursor()?.removeAttribute("data-cursor");
  if (!next) return;
  next.setAttribute("data-cursor", "");
  (next.querySelector("a") ?? next.querySelector("button, input"))?.focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
}

function pick(range) {
  const box = cursor()?.querySelector("input[type=checkbox]");
  if (!box) return;
  const all = rows(), from = all.indexOf(anchor), to = all.indexOf(cursor());
  if (range && from >= 0) {
    for (const row of all.slice(Math.min(from, to), Math.max(from, to) + 1)) check(row.querySelector("input[type=checkbox]"), true);
  } else check(box, !box.checked);
  anchor = cursor();
}

function check(box, on) {
  box.checked = on;
  box.dispatchEvent(new Event("change", { bubbles: true }));
}

// Of several with the same key the last one counts: of all toasts, Z undoes the newest.
function find(attribute, key) {
  return [...document.querySelectorAll(`[${attribute}="${CSS.escape(key)}"]`)].filter(it => it.offsetParent).at(-1);
}

// They can be switched off (WCAG 2.1.4); this browser remembers.
function isOff() {
  try {
    return localStorage.getItem(SWITCH) === "off";
  } catch {
    return false; // storage may be switched off, too
  }
}

for (const box of document.querySelectorAll("[data-keys-switch]")) box.checked = !isOff();
document.addEventListener("change", ({ target }) => {
  if (target.matches("[data-keys-switch]")) localStorage.setItem(SWITCH, target.checked ? "on" : "off");
});

document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (isOff()) return;
  if (document.querySelector(":modal, [popover]:popover-open") && event.key !== "?") return;
  if (typing(event.target)) return event.key === "Escape" ? event.target.blur() : undefined;
  const key = event.key.toLowerCase();
  const place = before === "g" && document.querySelector(`[data-go="${CSS.escape(key)}"]`);
  const onPage = !place && find("data-key", key);
  before = key === "g" ? "g" : "";
  if (place) place.click();
  else if (key === "?") document.getElementById("keys")?.togglePopover();
  else if (onPage) typing(onPage) ? onPage.focus() : onPage.click();
  else if (key === "j") move(1);
  else if (key === "k") move(-1);
  else if (key === "x") pick(event.shiftKey);
  else if (key === "enter" && event.target === document.body) cursor()?.querySelector("a")?.click();
  else return;
  event.preventDefault();
});
