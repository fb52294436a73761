// What the server offers: places, limits and looks. It does not change while the server runs.

import { get } from "./api.js";

export const server = { about: null, looks: null, problem: null, changed: () => {} };

export async function loadServer() {
  try {
    const [about, looks] = await Promise.all([get("api/server"), get("api/looks")]);
    Object.assign(server, { about, looks, problem: null });
  } catch (problem) {
    server.problem = problem;
  }
  server.changed();
}

/** Return the size of a tier as `{vcpu, memory_gb}`, or undefined. */
export function tierOf(place, tier) {
  const named = server.about?.places.flatMap(one => (one.place === place || place === "both" ? one.tiers : [])) ?? [];
  return named.find(one => one.tier === tier || one.name === tier);
}
