// When the server cannot be reached, or answers with a fault, what you typed stays, a banner says so, and what was to
// be saved is sent again every 5 seconds. When you were signed out meanwhile, the banner leads to the door.
const RETRY = 5000;
const banner = name => document.querySelector(`[data-fault="${name}"]`);
const unsent = new Set();

function show(name, on) {
  const element = banner(name);
  if (element && element.hidden === on) element.hidden = !on;
}

const isPoll = event => event.target.hasAttribute?.("data-polls");
const isDoor = url => new URL(url || location.href, location.href).pathname === document.documentElement.dataset.door;

for (const kind of ["htmx:sendError", "htmx:timeout"]) {
  document.addEventListener(kind, event => {
    show("away", true);
    if (!isPoll(event) && event.target.matches("form[data-autosave]")) unsent.add(event.target);
  });
}

document.addEventListener("htmx:responseError", event => {
  const { status } = event.detail.xhr;
  if (status === 401) return show("signed-out", true);
  if (isPoll(event) || status === 404 && event.detail.requestConfig.verb === "get") return;
  show("broken", true);
  if (event.target.matches("form[data-autosave]") && status >= 500) unsent.add(event.target);
});

document.addEventListener("htmx:beforeSwap", event => {
  if (!isDoor(event.detail.xhr.responseURL)) return;
  event.detail.shouldSwap = false;
  show("signed-out", true);
});

document.addEventListener("htmx:afterRequest", event => {
  if (!event.detail.successful || isDoor(event.detail.xhr.responseURL)) return;
  show("away", false);
  if (!banner("signed-out")?.hidden) signedInAgain();
  if (!isPoll(event)) show("broken", false);
  unsent.delete(event.target);
});

// Signing in makes a new CSRF token; what is saved from here on needs it.
async function signedInAgain() {
  show("signed-out", false);
  const page = new DOMParser().parseFromString(await (await fetch(location.href)).text(), "text/html");
  const headers = page.body.getAttribute("hx-headers");
  if (headers) document.body.setAttribute("hx-headers", headers);
}

setInterval(() => {
  for (const form of unsent) form.isConnected ? window.htmx?.trigger(form, "again") : unsent.delete(form);
}, RETRY);

window.addEventListener("beforeunload", event => unsent.size && event.preventDefault());
