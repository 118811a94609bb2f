// What the tours share: where the server is, and how a step that went wrong ends the tour.

export const { BASE_URL, API_KEY, CLIENT_ID, CLIENT_SECRET, AUDIENCE, COLLECTOR_ID, METER_KEY } = process.env as Record<
  string,
  string
>;

/** What an operation answered, or the end of the tour. */
export function good<Data>(step: string, { data, error, response }: { data?: Data; error?: unknown; response: Response }): Data {
  if (!response.ok || (data === undefined && response.status !== 204)) {
    throw new Error(`${step}: ${response.status} ${JSON.stringify(error)}`);
  }
  console.log(`  ${step}: ${response.status}`);
  return data as Data;
}

/** Where an answer can be CSV as well. */
export function json<Data>(data: Data | string): Data {
  if (typeof data === "string") {
    throw new Error(`a text instead of JSON: ${data}`);
  }
  return data;
}

export function same(step: string, found: unknown, wanted: unknown): void {
  if (JSON.stringify(found) !== JSON.stringify(wanted)) {
    throw new Error(`${step}: ${JSON.stringify(found)} instead of ${JSON.stringify(wanted)}`);
  }
  console.log(`  ${step}: as it should be`);
}
