// What was typed into a form[data-unsaved] and not saved is not lost by leaving: the browser asks first.
const forms = () => [...document.querySelectorAll("form[data-unsaved]")];

for (const kind of ["input", "change"]) {
  document.addEventListener(kind, ({ target }) => {
    if (target.form?.matches("[data-unsaved]") && target.name) target.form.dataset.unsaved = "typed";
  });
}

document.addEventListener("submit", ({ target, defaultPrevented }) => {
  if (!defaultPrevented && target.matches("[data-unsaved]")) target.dataset.unsaved = "";
});

window.addEventListener("beforeunload", event => {
  if (forms().some(form => form.dataset.unsaved === "typed")) event.preventDefault();
});
