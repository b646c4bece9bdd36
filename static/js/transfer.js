// One file on its way: a ticket from us, the file straight to storage, then we wait until the server has read it.
// Throws Refused with the server's own words (nothing will change them), or Broken (trying again may help).
export class Refused extends Error {}
export class Broken extends Error {}

const ASK_AGAIN = 700, PATIENCE = 300_000; // ms

async function call(url, { headers, signal, body }) {
  let response;
  try {
    const init = { method: "POST", headers: { ...headers, "Content-Type": "application/json" }, body: JSON.stringify(body ?? {}) };
    response = await fetch(url, { ...init, signal, redirect: "error" });
  } catch (error) {
    throw signal.aborted ? error : new Broken();
  }
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return { status: response.status, answer };
  throw response.status < 500 && response.status !== 429 && answer.message ? new Refused(sentence(answer)) : new Broken();
}

function sentence({ message, details }) {
  const reasons = Object.values(details ?? {}).flat().filter(reason => typeof reason === "string");
  return reasons.length ? reasons.join(" ") : message;
}

// XMLHttpRequest, since fetch tells nothing of what has been sent.
function post(ticket, file, { signal, onProgress }) {
  return new Promise((resolve, reject) => {
    const form = new FormData();
    for (const [name, value] of Object.entries(ticket.fields)) form.append(name, value);
    form.append("file", file);
    const request = new XMLHttpRequest();
    request.upload.addEventListener("progress", ({ loaded, total }) => onProgress(loaded / total));
    request.addEventListener("load", () => request.status < 300 ? resolve() : reject(new Broken()));
    request.addEventListener("error", () => reject(new Broken()));
    request.addEventListener("abort", () => reject(new DOMException("", "AbortError")));
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.open("POST", ticket.url);
    request.send(form);
  });
}

const pause = (ms, signal) => new Promise((resolve, reject) => {
  const timer = setTimeout(resolve, ms);
  signal.addEventListener("abort", () => (clearTimeout(timer), reject(new DOMException("", "AbortError"))), { once: true });
});

export async function transfer(file, { tickets, headers, signal, onProgress, onReading }) {
  signal.throwIfAborted();
  const announced = { filename: file.name, content_type: file.type, size: file.size };
  const { answer: ticket } = await call(tickets, { headers, signal, body: announced });
  await post(ticket, file, { signal, onProgress });
  onReading();
  for (const started = Date.now(); Date.now() - started < PATIENCE; await pause(ASK_AGAIN, signal)) {
    const { status, answer } = await call(`${tickets}${ticket.id}/complete/`, { headers, signal });
    if (status === 200) return answer;
  }
  throw new Broken();
}
