// Files that are dropped, pasted or chosen anywhere on a page with [data-upload] go up, three at a time, each with its
// row; then [data-upload-take] makes a draft of each, or adds them to the work, in the order in which they arrived.
import { say, word } from "./say.js";
import { Broken, Refused, transfer } from "./transfer.js";

const AT_ONCE = 3, DONE_FOR = 6000;
const section = document.querySelector("[data-upload]");
const list = section?.querySelector("ol");
const waiting = [];
let running = 0, taken = Promise.resolve();

function row(file) {
  const item = section.querySelector("template").content.firstElementChild.cloneNode(true);
  item.querySelector("[data-name]").textContent = file.name;
  item.querySelector("progress").setAttribute("aria-label", file.name);
  for (const button of item.querySelectorAll("button")) {
    button.setAttribute("aria-label", button.getAttribute("aria-label").replace("{name}", file.name));
  }
  if (file.type.startsWith("image/")) preview(item, file);
  list.append(item);
  return item;
}

function preview(item, file) {
  const picture = Object.assign(new Image(40, 40), { alt: "", src: URL.createObjectURL(file) });
  picture.addEventListener("load", () => URL.revokeObjectURL(picture.src));
  picture.addEventListener("error", () => picture.remove());
  item.querySelector(".thumb").replaceChildren(picture);
}

function tell(item, status, sentence, { percent = null, again = false } = {}) {
  item.dataset.status = status;
  const bar = item.querySelector("progress"), said = item.querySelector(".said");
  bar.hidden = percent === null;
  bar.value = percent ?? 0;
  item.querySelector("[data-percent]").textContent = percent === null ? "" : `${percent} %`;
  said.hidden = !sentence;
  said.querySelector("[data-text]").textContent = sentence;
  for (const icon of said.querySelectorAll("[data-for]")) icon.hidden = icon.dataset.for !== status;
  item.querySelector("[data-again]").hidden = !again;
}

function accept(file) {
  if (document.querySelector("#files[data-fixed]")) return; // the work went on its way meanwhile
  const entry = { file, item: row(file), control: null };
  entry.item.querySelector("[data-away]").addEventListener("click", () => {
    entry.control?.abort();
    if (waiting.includes(entry)) waiting.splice(waiting.indexOf(entry), 1);
    entry.item.remove();
  });
  entry.item.querySelector("[data-again]").addEventListener("click", () => enqueue(entry));
  const { limit, types } = section.dataset;
  if (!types.split(" ").includes(file.type)) return tell(entry.item, "failed", word(section, "type", { name: file.name }));
  if (file.size > Number(limit)) return tell(entry.item, "failed", word(section, "size", { name: file.name }));
  if (!file.size) return tell(entry.item, "failed", word(section, "empty"));
  enqueue(entry);
}

function enqueue(entry) {
  tell(entry.item, "uploading", word(section, "waiting"));
  waiting.push(entry);
  next();
}

function next() {
  while (running < AT_ONCE && waiting.length) {
    running += 1;
    send(waiting.shift()).finally(() => { running -= 1; next(); });
  }
}

async function send(entry) {
  const { item, file } = entry;
  entry.control = new AbortController();
  try {
    const upload = await transfer(file, {
      tickets: section.dataset.upload,
      headers: JSON.parse(document.body.getAttribute("hx-headers")),
      signal: entry.control.signal,
      onProgress: share => tell(item, "uploading", "", { percent: Math.round(share * 100) }),
      onReading: () => tell(item, "uploading", word(section, "reading")),
    });
    // One after another, since two additions to one work at once would be in each other's way.
    const mine = taken.then(() => take(upload.id));
    taken = mine.catch(() => {});
    await mine;
    tell(item, "published", word(section, "done"));
    say(`${file.name}: ${word(section, "done")}`);
    setTimeout(() => item.remove(), DONE_FOR);
  } catch (error) {
    if (error.name === "AbortError") return;
    const refused = error instanceof Refused;
    const sentence = refused ? error.message : word(section, error instanceof Broken ? "broken" : "fault");
    tell(item, "failed", sentence, { again: !refused });
    say(`${file.name}: ${sentence}`);
  }
}

async function take(id) {
  const { uploadTake, target, swap } = section.dataset;
  const headers = { ...JSON.parse(document.body.getAttribute("hx-headers")), "HX-Request": "true" };
  const body = new URLSearchParams({ upload: id });
  const response = await fetch(uploadTake, { method: "POST", headers, body, redirect: "error" }).catch(() => { throw new Broken(); });
  const text = await response.text();
  if (response.status === 409 || response.status === 422) throw new Refused(text);
  if (!response.ok) throw new Broken();
  window.htmx.swap(target, text, { swapStyle: swap });
  window.htmx.trigger(document.body, "works:touched");
}

if (section) {
  const files = transferred => [...(transferred?.files ?? [])];
  document.addEventListener("change", ({ target }) => {
    if (!target.matches("[data-upload] input[type=file]")) return;
    files(target).forEach(accept);
    target.value = "";
  });
  document.addEventListener("click", ({ target }) => target.closest("[data-choose]") && section.querySelector("input[type=file]").click());
  document.addEventListener("paste", event => files(event.clipboardData).forEach(accept));
  document.addEventListener("dragover", event => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    section.setAttribute("data-over", "");
  });
  document.addEventListener("dragleave", event => event.relatedTarget ?? section.removeAttribute("data-over"));
  document.addEventListener("drop", event => {
    section.removeAttribute("data-over");
    if (!files(event.dataTransfer).length) return;
    event.preventDefault();
    files(event.dataTransfer).forEach(accept);
  });
  window.addEventListener("beforeunload", event => (running || waiting.length) && event.preventDefault());
}
