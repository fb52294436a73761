// Parts that several views share.

import { h, icon, square } from "./dom.js";
import { reuse } from "./draft.js";
import { ending } from "./pairing.js";
import { named, t } from "./text.js";
import { STRINGS } from "./strings.js";

const SHOWN = ["png", "jpg", "jpeg", "webp", "gif"]; // pictures that the server shows

/** Follow a link of the page. */
export function go(hash) {
  location.hash = hash;
}

/** Join the given parts of a line. */
export const facts = (...parts) => parts.filter(Boolean).join(t("comma"));

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

/** Return a sentence about a fault or error by its code; the server's own words if it has no code. */
export function describe({ code, field = "", found = "", expected = "", message = "", scene = "", fix = "" }) {
  const specific = `fault.${code}.${field.replace(/_path$/, "")}`, general = `fault.${code}`;
  const values = { field: field === "" ? t("this.file") : named("option", field.replace(/^options\./, "").replace(/_path$/, "")), found, expected, scene };
  if (specific in STRINGS) return t(specific, values);
  if (code === "invalid" || !(general in STRINGS)) return message || t(expected ? "fault.found.expected" : "fault.found", values) + (fix && ` ${fix}`);
  return t(general, values);
}

/** Return what to do about a problem, as a sentence or a command; null if nothing is known. */
export function remedyOf({ code, fix }) {
  const text = `fix.${code}` in STRINGS ? t(`fix.${code}`) : fix;
  return text && h("p", null, h("b", null, t("what.to.do")), " ", text);
}

/** Return the server's own words about a problem, which has another text before them. */
export function detailsOf(problem) {
  return problem.message && problem.message !== describe(problem) && h("details", null, h("summary", null, t("details")), h("p", { class: "small" }, problem.message));
}

/** Return a box about a failed request. */
export function problemBox(problem) {
  return h("div", { class: "call bad", role: "alert" }, icon("warn"), h("div", null,
    h("p", null, describe(problem)),
    problem.faults.map(fault => h("p", null, fault.scene && h("b", null, `${fault.scene}: `), describe(fault))),
    remedyOf(problem), detailsOf(problem)));
}

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
