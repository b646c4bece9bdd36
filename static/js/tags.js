// A text field of tags, "moth, tea", becomes a row of chips. The field stays, hidden: it is what is sent.
// Enter or comma adds, Backspace on an empty input removes the last one.
const SEPARATORS = /[,\n]/;

function enhance(field) {
  const box = document.getElementById(field.dataset.tags).content.firstElementChild.cloneNode(true);
  const input = box.querySelector("input");
  const chip = box.querySelector(".chip");
  chip.remove();
  input.id = field.id;
  input.setAttribute("aria-describedby", field.getAttribute("aria-describedby") ?? "");
  field.removeAttribute("id");
  field.type = "hidden";
  field.after(box);
  box.disabled = field.disabled;

  const tags = () => [...box.querySelectorAll(".chip")].map(it => it.dataset.tag);
  const count = () => {
    const place = document.querySelector(`[data-tag-count="${CSS.escape(input.id)}"]`);
    if (place) place.textContent = tags().length;
  };

  function add(text) {
    const tag = text.trim().replace(/^#+/, "");
    if (!tag || tags().some(other => other.toLowerCase() === tag.toLowerCase())) return;
    const made = chip.cloneNode(true);
    made.dataset.tag = tag;
    made.querySelector("[data-text]").textContent = tag;
    const button = made.querySelector("button");
    button.setAttribute("aria-label", button.getAttribute("aria-label").replace("{tag}", tag));
    input.before(made);
  }

  function changed() {
    field.value = tags().join(", ");
    count();
    field.dispatchEvent(new Event("change", { bubbles: true }));
  }

  function take() {
    if (!input.value.trim()) return;
    input.value.split(SEPARATORS).forEach(add);
    input.value = "";
    changed();
  }

  field.value.split(SEPARATORS).forEach(add);
  count();
  input.addEventListener("keydown", event => {
    if (event.key === "Enter" || event.key === ",") {
      event.preventDefault();
      take();
    } else if (event.key === "Backspace" && !input.value && tags().length) {
      [...box.querySelectorAll(".chip")].at(-1).remove();
      changed();
    }
  });
  // The half-typed tag counts when you leave the field; its own change must not be sent, it has no name.
  input.addEventListener("change", event => event.stopPropagation());
  input.addEventListener("blur", take);
  input.addEventListener("paste", () => setTimeout(() => SEPARATORS.test(input.value) && take()));
  box.addEventListener("click", event => {
    const button = event.target.closest(".chip button");
    if (!button) return input.focus();
    button.closest(".chip").remove();
    changed();
    input.focus();
  });
}

function look(root) {
  for (const field of root.querySelectorAll("input[data-tags]:not([type=hidden])")) enhance(field);
}

look(document);
document.addEventListener("htmx:afterSettle", ({ target }) => look(target.parentElement ?? document));
