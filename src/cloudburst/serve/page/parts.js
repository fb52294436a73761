// Parts that several views share.

import { h, icon, square } from "./dom.js";
import { reuse } from "./draft.js";
import { ending } from "./pairing.js";
import { t } from "./text.js";

const SHOWN = ["png", "jpg", "jpeg", "webp", "gif"]; // pictures that the server shows

/** Follow a link of the page. */
export function go(hash) {
  location.hash = hash;
}

/** Return the three steps to a run; `current` is 0, 1 or 2. */
export function steps(current) {
  const names = [["#/", t("step.files")], ["#/look", t("step.look")], ["#/plan", t("step.plan")]];
  return h("ol", { class: "steps", "aria-label": t("steps") }, names.map(([hash, name], place) => {
    const content = [h("span", { class: "n" }, place < current ? icon("check", true) : place + 1), name];
    if (place < current) return h("li", { class: "did" }, h("a", { href: hash }, content));
    return h("li", { "aria-current": place === current ? "step" : null }, content);
  }));
}

/** Return the picture of a scene of the draft. */
export function thumb(scene, label = "") {
  const isShown = scene.image?.id && SHOWN.includes(ending(scene.image.name)) && !scene.image.id.includes(":");
  return h("span", { class: "thumb" }, isShown ? h("img", { src: `api/uploads/${scene.image.id}`, alt: label, loading: "lazy", onerror: hide }) : icon("picture"));
}

/** Hide a picture that the browser cannot show. */
export const hide = event => event.target.classList.add("broken");

/** Return a line of code with a button that copies it. */
export function command(text, label) {
  return h("div", { class: "cmd" }, h("code", null, text), square("copy", label, () => navigator.clipboard?.writeText(text)));
}

/** Return a function that prepares a run of this browser again, or null if it is not known here. */
export function retake(id) {
  const kept = localStorage.getItem(`run-${id}`);
  return kept && (() => {
    reuse(JSON.parse(kept));
    go("#/look");
  });
}
