// Everything works without this. It hides what does not matter at the moment, and previews while one types.
"use strict";

// data-when="trigger=status_changed_to": shown while that control of the same form has that value.
function settle(form) {
  for (const part of form.querySelectorAll("[data-when]")) {
    const [name, value] = part.dataset.when.split("=");
    const chosen = form.querySelector(`select[name="${name}"], input[name="${name}"]:checked`);
    part.hidden = !chosen || chosen.value !== value;
  }
}

for (const form of document.forms) {
  settle(form);
  form.addEventListener("change", () => settle(form));
}

const PAUSE = 300; // milliseconds without a key before the server is asked

for (const form of document.querySelectorAll("form[data-preview]")) {
  let last = null;
  const about = form.querySelector("[data-about]"); // what the texts are tried with
  const all = [];
  for (const box of form.querySelectorAll("[data-language]")) {
    let waiting = 0;
    let asked = 0;
    const show = async () => {
      const number = ++asked;
      const body = new URLSearchParams({ csrf: form.elements.csrf.value, language: box.dataset.language });
      for (const area of box.querySelectorAll("[data-part]")) body.set(area.dataset.part, area.value);
      for (const control of about ? about.querySelectorAll("[name^=about]") : []) body.set(control.name, control.value);
      const answer = await fetch(form.dataset.preview, { method: "POST", body });
      if (!answer.ok || number !== asked) return;
      const found = await answer.json();
      for (const place of box.querySelectorAll("[data-shows]")) {
        const value = found[place.dataset.shows];
        place.textContent = Array.isArray(value) ? value.join(" ") : value;
      }
    };
    const soon = () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => show().catch(() => {}), PAUSE);
    };
    all.push(soon);
    box.addEventListener("input", soon);
    box.addEventListener("focusin", (event) => {
      if (event.target.dataset.part) last = event.target;
    });
  }
  if (about) about.addEventListener("input", () => all.forEach((soon) => soon()));
  form.addEventListener("click", (event) => {
    const text = event.target.dataset && event.target.dataset.insert;
    if (!text) return;
    const area = last || form.querySelector("[data-part]");
    area.setRangeText(text, area.selectionStart, area.selectionEnd, "end");
    area.focus();
    area.dispatchEvent(new Event("input", { bubbles: true }));
  });
}
