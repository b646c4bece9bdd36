// Server-made questions land in #dialog and are opened here, once htmx is done with them: before that their buttons do
// nothing yet, and htmx would still move the focus. The browser returns the focus, and Escape closes.
document.addEventListener("htmx:afterSettle", () => {
  const dialog = document.querySelector("#dialog > dialog:not([data-asked])");
  if (!dialog) return;
  dialog.dataset.asked = "";
  dialog.showModal();
});

document.addEventListener("click", event => {
  const dialog = event.target.closest("dialog");
  if (!dialog) return;
  // The way out is a link for those without scripts; a click beside the question is a way out, too.
  if (event.target.closest("[data-close]")) event.preventDefault();
  else if (event.target !== dialog) return;
  dialog.close();
});

// What was asked has been answered; a refusal lands in #dialog as a new question. [data-asks] only looks something up.
document.addEventListener("htmx:beforeOnLoad", ({ target, detail }) => {
  if (detail.xhr.status < 400 && !target.matches("[data-asks]")) {
    target.closest("dialog")?.close();
    target.closest("[popover]")?.hidePopover();
  }
});
