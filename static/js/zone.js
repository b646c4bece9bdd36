// Offers the browser's time zone when it is another than the one that your times are shown in; never sets it silently.
const KEY = "isekai-zone-declined";
const offer = document.querySelector("[data-zone-offer]");
const here = Intl.DateTimeFormat().resolvedOptions().timeZone;

function declined() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // storage may be switched off
  }
}

if (offer && here && here !== offer.dataset.zoneOffer && declined() !== `${offer.dataset.zoneOffer} ${here}`) {
  offer.querySelector("[name=time_zone]").value = here;
  const place = here.split("/").at(-1).replaceAll("_", " ");
  for (const element of offer.querySelectorAll("[data-zone-here]")) element.textContent = place;
  offer.hidden = false;
}

document.addEventListener("click", ({ target }) => {
  if (!target.closest("[data-zone-decline]")) return;
  offer.hidden = true;
  try {
    localStorage.setItem(KEY, `${offer.dataset.zoneOffer} ${here}`);
  } catch {
    // then it is offered again on the next page
  }
});
