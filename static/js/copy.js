// [data-copy="id"] copies the text, or the value, of the element with that id, and says so.
import { say } from "./say.js";

document.addEventListener("click", async ({ target }) => {
  const button = target.closest("[data-copy]");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  await navigator.clipboard.writeText(source.value ?? source.innerText);
  say(button.dataset.copied);
});
