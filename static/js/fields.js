// What a field says about itself: [data-count="id"] how long the field with that id is, [data-error-of="name"] what is
// wrong with the field of that name.
document.addEventListener("input", ({ target }) => {
  const place = target.id && document.querySelector(`[data-count="${CSS.escape(target.id)}"]`);
  if (place) place.textContent = [...target.value].length;
});

document.addEventListener("htmx:afterSettle", () => {
  for (const place of document.querySelectorAll("[data-error-of]")) {
    const isWrong = place.textContent.trim() !== "";
    for (const field of place.closest(".field")?.querySelectorAll("input:not([type=hidden]), select, textarea") ?? []) {
      isWrong ? field.setAttribute("aria-invalid", "true") : field.removeAttribute("aria-invalid");
    }
  }
});
