// One sentence for screen readers; the page's #announcer is the only live region that scripts write to.
export function say(sentence) {
  const announcer = document.getElementById("announcer");
  if (announcer) announcer.textContent = sentence;
}

// The words of a section: data-word-too-big="{name} is too big" is word(section, "too-big", { name }).
export function word(section, name, values = {}) {
  const sentence = section.getAttribute(`data-word-${name}`) ?? "";
  return sentence.replace(/\{(\w+)\}/g, (whole, key) => values[key] ?? whole);
}
