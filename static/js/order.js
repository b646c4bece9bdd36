// Rows of a [data-order] list are dragged by their [data-grip]; the form whose id it names is sent with the new order.
// Without a pointer there are buttons that move a row up or down.
const THRESHOLD = 6; // pixels
let drag = null;

document.addEventListener("pointerdown", event => {
  const grip = event.target.closest("[data-grip]");
  if (!grip || event.button) return;
  const row = grip.closest("[data-order] > *");
  drag = { row, list: row.parentElement, next: row.nextElementSibling, y: event.clientY, live: false, pointer: event.pointerId };
  event.preventDefault();
});

document.addEventListener("pointermove", event => {
  if (!drag || event.pointerId !== drag.pointer) return;
  if (!drag.live && Math.abs(event.clientY - drag.y) < THRESHOLD) return;
  drag.live = true;
  drag.row.setAttribute("data-dragging", "");
  const others = [...drag.list.children].filter(row => row !== drag.row);
  const behind = others.find(row => {
    const { top, height } = row.getBoundingClientRect();
    return event.clientY < top + height / 2;
  });
  if (drag.row.nextElementSibling !== (behind ?? null)) drag.list.insertBefore(drag.row, behind ?? null);
});

function end(event) {
  if (!drag || event.pointerId !== drag.pointer) return;
  const { row, list, next } = drag;
  drag = null;
  row.removeAttribute("data-dragging");
  if (event.type === "pointercancel") list.insertBefore(row, next);
  else if (row.nextElementSibling !== next) window.htmx.trigger(document.getElementById(list.dataset.order), "reordered");
}

document.addEventListener("pointerup", end);
document.addEventListener("pointercancel", end);
