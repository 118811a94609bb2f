// OpenMeter's own JavaScript SDK, given nothing but a base URL and a key.

import { OpenMeter } from "@openmeter/sdk";
import { API_KEY, BASE_URL, same } from "./tour.js";

const openmeter = new OpenMeter({ baseUrl: BASE_URL!, apiKey: API_KEY! });

const meter = await openmeter.meters.create({
  slug: "sdk_tokens",
  aggregation: "SUM",
  eventType: "sdk",
  valueProperty: "$.tokens",
  groupBy: { model: "$.model" },
});
same("the created meter", meter?.slug, "sdk_tokens");

await openmeter.events.ingest({ type: "sdk", subject: "alice", data: { tokens: 1, model: "gpt-4" } });
await openmeter.events.ingest([
  { id: "1", source: "tour", type: "sdk", subject: "alice", time: new Date(), data: { tokens: "10", model: "llama" } },
  { id: "1", source: "tour", type: "sdk", subject: "alice", data: { tokens: "10", model: "llama" } },
]);

const usage = await openmeter.meters.query("sdk_tokens", { groupBy: ["model"], subject: ["alice"] });
same("the usage", usage?.data.map((row) => [row.groupBy?.model, row.value]), [["gpt-4", 1], ["llama", 10]]);
const windows = await openmeter.meters.query("sdk_tokens", { windowSize: "DAY", filterGroupBy: { model: "llama" } });
same("a filter", windows?.data.map((row) => row.value), [10]);
same("a window's start is a date", windows?.data[0]?.windowStart instanceof Date, true);

const listed = await openmeter.meters.list();
same("it is listed", listed?.some((one) => one.slug === "sdk_tokens"), true);
await openmeter.meters.delete("sdk_tokens");
const refused = await openmeter.meters.get("sdk_tokens").catch((error: unknown) => error);
same("an error is the SDK's", [(refused as Error).name, (refused as { status?: number }).status], ["HTTPError", 404]);
