// What went wrong, and what to do about it.

import { h, icon } from "./dom.js";
import { STRINGS } from "./strings.js";
import { named, t } from "./text.js";

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
