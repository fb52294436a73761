// Third step: where the run is rendered, how long it takes and what it costs. Nothing has started.

import { button, field, h, icon, linkButton, toggle } from "./dom.js";
import { capOf, discard, readyScenes, save, state, submit } from "./draft.js";
import { go, steps } from "./parts.js";
import { problemBox } from "./problems.js";
import { server, tierOf } from "./server.js";
import { cap, duration, facts, forecast, named, said, t } from "./text.js";

const SYMBOLS = { machine: "machine", fargate: "cloud", both: "both", endpoints: "cloud" };
const keyOf = plan => [plan.place, plan.tier, plan.workers, plan.spot].join("/");
const isBilled = plan => Number(plan.usd_high ?? plan.usd ?? 0) > 0;

let isSubmitting = false, problem = null;

export function planView() {
  const { plan, draft } = state, plans = plan?.plans ?? [], scenes = readyScenes();
  const chosen = plans.find(one => keyOf(one) === draft.place) ?? plans.find(one => one.chosen) ?? plans[0];
  const places = Object.keys(SYMBOLS).filter(place => plans.some(one => one.place === place));
  const cards = places.map(place => (chosen?.place === place ? chosen : plans.find(one => one.place === place && one.chosen) ?? plans.find(one => one.place === place)));
  const others = plans.filter(one => !cards.includes(one));
  const slowest = Math.max(...plans.map(one => one.seconds));
  const unavailable = (server.about?.places ?? []).filter(place => !place.available && place.reason && !places.includes(place.place));
  const seconds = plan?.film_seconds ?? (plan?.scenes ?? []).reduce((sum, scene) => sum + scene.seconds, 0);
  return [
    steps(2),
    h("div", { class: "head" }, h("div", null, h("h1", null, t("plan.title")), h("p", null, t("plan.nothing")))),
    (problem ?? state.planProblem) && problemBox(problem ?? state.planProblem),
    !chosen && h("p", { class: "muted", role: "status" }, scenes.length === 0 ? t("no.scenes") : state.isPlanning || !plan ? t("loading") : t("no.plans")),
    h("fieldset", { class: "choices", "aria-label": t("place") }, cards.map(one => card(one, one === chosen, slowest))),
    unavailable.length > 0 && h("ul", { class: "small muted notes" }, unavailable.map(place => h("li", { key: place.place }, t("colon", { what: named("place", place.place), text: said(place.reason) })))),
    chosen && h("div", { class: "split" },
      others.length > 0 && h("div", { class: "card flush" }, h("h2", { class: "pad-title" }, t("more.choices")), table(others)),
      h("div", { class: "card stack narrow" },
        h("dl", { class: "kv" },
          h("div", null, h("dt", null, t("videos")), h("dd", null, facts(String(scenes.length), duration(seconds)))),
          h("div", null, h("dt", null, t("step.look")), h("dd", null, named("preset", draft.preset ?? "standard"))),
          h("div", null, h("dt", null, t("film")), h("dd", null, draft.film ? t("film.with", { transition: named("transition", draft.transition) }) : t("no")))),
        isBilled(chosen) && field("cap", t("cap"), h("div", { class: "row" }, h("span", { "aria-hidden": "true" }, "$"), h("input", { id: "cap", type: "text", inputmode: "decimal", autocomplete: "off", value: draft.maxUsd, placeholder: capOf(chosen), "aria-describedby": "cap-help", onchange: event => { draft.maxUsd = event.target.value.trim().replace(",", "."); save(); } }))),
        isBilled(chosen) && h("p", { class: "small muted", id: "cap-help" }, t("cap.help")),
        field("deadline", t("deadline"), h("input", { id: "deadline", type: "number", min: "1", step: "1", value: draft.deadline, placeholder: t("deadline.none"), onchange: event => { draft.deadline = event.target.value; save(); } })),
        server.about?.places.some(place => place.tiers.length > 0 && place.available) && toggle(t("spot"), draft.spot, value => { draft.spot = value; save(); }))),
    chosen && h("div", { class: "dock" },
      h("p", null, isBilled(chosen) ? t("plan.summary", { place: named("place", chosen.place), usd: forecast(chosen.usd), cap: cap(capOf(chosen)) }) : t("plan.free", { place: named("place", chosen.place) })),
      linkButton(t("back"), "#/look"),
      button(isSubmitting ? t("starting") : isBilled(chosen) ? t("render.for", { usd: forecast(chosen.usd) }) : t("render.free"), () => start(chosen), { kind: "main", disabled: isSubmitting || scenes.length === 0 || state.isPlanning || state.waiting > 0 })),
  ];
}

function choosePlan(plan) {
  state.draft.place = keyOf(plan);
  save();
}

function card(plan, isChosen, slowest) {
  const size = tierOf(plan.place, plan.tier);
  const where = server.about?.places.find(one => one.place === plan.place);
  return h("label", { class: "choice", key: plan.place }, h("input", { type: "radio", name: "place", checked: isChosen, onchange: () => choosePlan(plan) }),
    h("h2", null, icon(SYMBOLS[plan.place]), named("place", plan.place)),
    h("div", null, h("p", { class: "big" }, isBilled(plan) ? forecast(plan.usd) : t("free")), h("p", { class: "when" }, duration(plan.seconds), state.draft.film && ` ${t("plus.film")}`)),
    h("div", { class: "meter", "aria-hidden": "true" }, h("i", { style: { width: `${(100 * plan.seconds) / slowest}%` } })),
    h("ul", { class: "facts" },
      h("li", null, size && plan.place !== "machine" ? facts(t("workers.of", { n: plan.workers, vcpu: size.vcpu }), where?.regions?.join(", ")) : t("at.once", { n: plan.workers })),
      isBilled(plan) && h("li", null, t("between", { low: forecast(plan.usd_low), high: forecast(plan.usd_high) })),
      plan.seconds_high > plan.seconds_low && h("li", null, t("between", { low: duration(plan.seconds_low), high: duration(plan.seconds_high) })),
      plan.place === "machine" ? h("li", null, t("files.stay")) : h("li", null, t("files.sent")),
      h("li", null, plan.measured ? t("measured") : t("assumed"))));
}

function table(plans) {
  return h("div", { class: "tablewrap", tabindex: "0", role: "region", "aria-label": t("more.choices") }, h("table", null,
    h("thead", null, h("tr", null, h("th", null, t("workers")), h("th", { class: "n" }, t("time")), h("th", { class: "n" }, t("bill")), h("th", { class: "n opt" }, t("range")), h("th", null, h("span", { class: "sr" }, t("choose"))))),
    h("tbody", null, plans.map(plan => h("tr", { key: keyOf(plan) },
      h("td", null, facts(named("place", plan.place), plan.tier === null || plan.place === "machine" ? t("at.once", { n: plan.workers }) : t("count.size", { n: plan.workers, vcpu: tierOf(plan.place, plan.tier)?.vcpu ?? plan.tier }), plan.spot && "Spot")),
      h("td", { class: "n" }, duration(plan.seconds)), h("td", { class: "n" }, isBilled(plan) ? forecast(plan.usd) : t("free")), h("td", { class: "n opt muted" }, isBilled(plan) ? t("between", { low: forecast(plan.usd_low), high: forecast(plan.usd_high) }) : ""),
      h("td", { class: "n" }, button(t("choose"), () => choosePlan(plan), { kind: "quiet" })))))));
}

async function start(plan) {
  [isSubmitting, problem] = [true, null];
  state.changed();
  try {
    const job = await submit(plan);
    discard();
    go(`#/run/${job.id}`);
  } catch (failure) {
    problem = failure;
  }
  isSubmitting = false;
  state.changed();
}
