// The strip is fetched by htmx; this module keeps it quiet in hidden tabs, counts down between two answers, and says
// once what became live, failed or needs you.
import { say, word } from "./say.js";

const strip = () => document.getElementById("now");
const clock = () => Date.parse(strip()?.dataset.now) - Date.now(); // server minus browser, in ms
let offset = clock();

function tick() {
  if (Number.isNaN(offset) || document.hidden) return;
  for (const element of document.querySelectorAll("[data-until]")) {
    const seconds = Math.max(0, (Date.parse(element.dataset.until) - Date.now() - offset) / 1000);
    const [name, count] = seconds < 1 ? ["now", 0] : seconds < 90 ? ["seconds", seconds] : seconds < 5400 ? ["minutes", seconds / 60]
      : seconds < 129_600 ? ["hours", seconds / 3600] : ["", 0];
    if (name) element.textContent = word(document.body, name, { count: Math.round(count) });
  }
}

setInterval(tick, 1000);
tick();

// A hidden tab asks nothing by itself; when it is seen again the strip is fetched at once.
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && strip()) window.htmx?.trigger("#now", "seen");
});
document.addEventListener("htmx:beforeRequest", event => {
  if (document.hidden && event.target.hasAttribute("data-polls")) event.preventDefault();
});
document.addEventListener("htmx:afterSettle", event => {
  if (event.target.id !== "now") return;
  offset = clock();
  tick();
});

// News never takes away what you type, nor what waits for an answer of its own: a panel in which something was changed
// and not yet sent stays as it is until you leave it, and an action brings the news with its answer.
document.addEventListener("htmx:beforeSwap", event => {
  const { target: panel, requestConfig } = event.detail;
  if (panel.id !== "state-box" || requestConfig.verb !== "get") return;
  const field = panel.contains(document.activeElement) ? document.activeElement : null;
  const isTyping = field?.matches("input, textarea, select") && field.value !== field.defaultValue;
  if (isTyping) field.addEventListener("blur", () => window.htmx.trigger(panel, "stale"), { once: true });
  if (isTyping || document.querySelector("main form.htmx-request")) event.detail.shouldSwap = false;
});

document.addEventListener("works:changed", ({ detail }) => {
  const news = (detail.works ?? []).filter(({ id, status, says }) => {
    const shown = document.getElementById(`w-${id}`) ?? document.querySelector(`[data-work="${CSS.escape(id)}"]`);
    return says && shown?.dataset.status !== status;
  });
  if (news.length) say(news.map(({ says }) => says).join(" "));
});
