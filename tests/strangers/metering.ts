// A client made of openapi/metering.yaml by openapi-typescript: both dialects of the buckets.

import createClient from "openapi-fetch";
import type { components, paths } from "./metering-api.js";
import { API_KEY, BASE_URL, good, json, same } from "./tour.js";

const client = createClient<paths>({ baseUrl: BASE_URL!, headers: { Authorization: `Bearer ${API_KEY}` } });

const wanted: components["schemas"]["ValueMeterCreate"] = {
  slug: "generated_tokens",
  aggregation: "SUM",
  eventType: "generated",
  valueProperty: "$.tokens",
  groupBy: { model: "$.model" },
};
const meter = good("create meter", await client.POST("/api/v1/meters", { body: wanted }));
same("its slug", meter.slug, wanted.slug);

const events = [1, 2, 0.5].map((tokens, number): components["schemas"]["Event"] => ({
  id: `generated-${number}`,
  source: "openapi-typescript",
  specversion: "1.0",
  type: "generated",
  subject: number === 2 ? "bob" : "alice",
  data: { tokens, model: "gpt-4" },
}));
good(
  "ingest events",
  await client.POST("/api/v1/events", {
    body: events,
    headers: { "Content-Type": "application/cloudevents-batch+json" },
    parseAs: "text",
  }),
);
const usage = json(
  good(
    "query meter",
    await client.GET("/api/v1/meters/{meterIdOrSlug}/query", {
      params: { path: { meterIdOrSlug: meter.slug }, query: { groupBy: ["model", "subject"], subject: ["alice", "bob"] } },
    }),
  ),
);
same(
  "the usage",
  usage.data.map((row) => [row.subject, row.groupBy.model, row.value]),
  [["alice", "gpt-4", 3], ["bob", "gpt-4", 0.5]],
);

const buckets = good("list buckets", await client.GET("/v1/metering"));
const bucketId = buckets.data[0]!.id;
const again = good(
  "ingest in the other dialect",
  await client.POST("/v3/metering/{bucketId}/events", { params: { path: { bucketId } }, body: events }),
);
same("all are duplicates", [again.accepted, again.duplicates], [0, 3]);
const total = json(
  good(
    "query by body in the other dialect",
    await client.POST("/v3/metering/{bucketId}/meters/{meterIdOrSlug}/query", {
      params: { path: { bucketId, meterIdOrSlug: meter.id } },
      body: { filterGroupBy: { model: ["gpt-4"] } },
    }),
  ),
);
same("the total", total.data.map((row) => row.value), [3.5]);

const refused = await client.GET("/api/v1/meters/{meterIdOrSlug}", { params: { path: { meterIdOrSlug: "nothing" } } });
same("a problem", [refused.response.status, refused.error?.detail], [404, "not found error: meter not found: nothing"]);
good(
  "delete meter",
  await client.DELETE("/api/v1/meters/{meterIdOrSlug}", { params: { path: { meterIdOrSlug: meter.id } } }),
);
