// The bulk bar is there while something is picked. The boxes are the truth; requests take them by hx-include.
const bar = document.querySelector("[data-bulk]");
const picked = () => document.querySelectorAll("[name=work]:checked");
const isUndecided = box => box.closest("[data-status]")?.dataset.status === "decision";

function tally() {
  const count = picked().length;
  document.body.classList.toggle("picking", count > 0);
  if (!bar) return;
  bar.hidden = count === 0;
  // Works that all need a decision are decided about; what is done to others would be refused for them.
  const undecided = count > 0 && [...picked()].every(isUndecided);
  for (const one of bar.querySelectorAll("[data-for-undecided]")) one.hidden = !undecided;
  for (const one of bar.querySelectorAll("[data-for-decided]")) one.hidden = undecided;
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
