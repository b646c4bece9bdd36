// The bulk bar is there while something is picked. The boxes are the truth; requests take them by hx-include.
const bar = document.querySelector("[data-bulk]");
const picked = () => document.querySelectorAll("[name=work]:checked");

function tally() {
  const count = picked().length;
  document.body.classList.toggle("picking", count > 0);
  if (!bar) return;
  bar.hidden = count === 0;
  for (const place of document.querySelectorAll("[data-tally]")) place.textContent = count;
}

function clear() {
  for (const box of picked()) box.checked = false;
  tally();
}

document.addEventListener("change", event => event.target.name === "work" && tally());
document.addEventListener("htmx:afterSettle", tally);
document.addEventListener("click", event => event.target.closest("[data-bulk-clear]") && clear());
tally();
