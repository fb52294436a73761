// Parts of the result of a run, for its page and for the file report.html.

import { h } from "./dom.js";
import { bill, forecast, t } from "./text.js";

const PARTS = [["encoding", "encode"], ["starting", "start"], ["idle", "hatch"], ["transferring", "upload"], ["wasted", "lost"]];

/** Return a figure with its name and a note. */
export const stat = (name, value, note) => h("div", null, h("dt", null, name), h("dd", { class: "v" }, value), h("dd", { class: "x" }, note));

/** Return the bill of a run by its parts; `usd` and `final` are those of a newer bill, if there is one. */
export function billCard({ cost, predicted }, { usd, final } = cost) {
  const parts = PARTS.filter(([name]) => Number(cost[name]) > 0);
  return h("div", { class: "card" },
    h("div", { class: "row between" }, h("h2", null, t("bill")), h("b", { class: "num" }, parts.length ? bill(usd) : t("free"))),
    parts.length > 0 && h("div", { class: "bar", "aria-hidden": "true" }, parts.map(([name, kind]) => h("i", { key: name, class: kind, style: { "flex-grow": String(Number(cost[name]) / Number(cost.usd)) } }))),
    parts.length > 0 && h("dl", { class: "legend" }, parts.map(([name, kind]) => h("div", { key: name }, h("dt", null, h("i", { class: kind }), t(`cost.${name}`)), h("dd", null, bill(cost[name]))))),
    parts.length === 0 ? h("p", { class: "muted" }, t("bill.none")) : h("p", { class: "small muted" }, predicted && t("bill.predicted", { low: forecast(predicted.usd_low), high: forecast(predicted.usd_high) }), " ", final ? t("bill.final") : t("bill.estimate")));
}
