// Server-made questions land in #dialog and are opened here. The browser returns the focus, and Escape closes.
document.addEventListener("htmx:afterSwap", ({ detail }) => {
  if (detail.target?.id !== "dialog") return;
  const dialog = detail.target.querySelector("dialog");
  if (dialog && !dialog.open) dialog.showModal();
});

document.addEventListener("click", event => {
  const dialog = event.target.closest("dialog");
  if (!dialog) return;
  // The way out is a link for those without scripts; a click beside the question is a way out, too.
  if (event.target.closest("[data-close]")) event.preventDefault();
  else if (event.target !== dialog) return;
  dialog.close();
});

// What was asked has been answered; a refusal lands in #dialog as a new question.
document.addEventListener("htmx:beforeOnLoad", ({ target, detail }) => {
  if (detail.xhr.status < 400) {
    target.closest("dialog")?.close();
    target.closest("[popover]")?.hidePopover();
  }
});
