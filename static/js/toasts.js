// A toast stays for 10 s; its time stands still while you point at it or are inside it.
const SECONDS = 10;
const ages = new WeakMap();

setInterval(() => {
  if (document.hidden) return;
  for (const toast of document.querySelectorAll("#toasts > .toast")) {
    if (toast.matches(":hover, :focus-within")) continue;
    const age = (ages.get(toast) ?? 0) + 1;
    ages.set(toast, age);
    if (age > SECONDS) toast.remove();
  }
}, 1000);

// What an answer brings has been read once its button was pressed.
document.addEventListener("htmx:afterRequest", ({ target, detail }) => {
  if (detail.successful) target.closest?.("#toasts > .toast")?.remove();
});
