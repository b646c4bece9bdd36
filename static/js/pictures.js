// The address of a picture is signed and runs out. A page that lay open for long asks for the part with it anew.
const ONCE_IN = 60_000; // ms
const asked = new WeakMap();

document.addEventListener("error", ({ target }) => {
  if (!(target instanceof HTMLImageElement) || target.src.startsWith("blob:")) return;
  const part = target.closest("li.work, #now") ?? (target.closest("#easel, #files") && document.getElementById("state-box"));
  if (!part || Date.now() - (asked.get(part) ?? 0) < ONCE_IN) return;
  asked.set(part, Date.now());
  if (part.id === "now") window.htmx?.ajax("GET", part.getAttribute("hx-get").split("?")[0], { source: part, target: part, swap: "outerHTML" });
  else window.htmx?.trigger(part, "stale");
}, true);
