/** Finds the field that an error is about. Pure. */

/** The parameter that a message names first, in quotes or as a word; `null` if it names none. */
export function paramOf(message: string, names: string[]): string | null {
  const quoted = /parameter '([^']+)'/.exec(message)?.[1];
  if (quoted !== undefined && names.includes(quoted)) return quoted;
  const places = names.map((name) => ({ name, at: message.search(new RegExp(`\\b${name.replace(/[^\w]/g, "\\$&")}\\b`)) })).filter(({ name, at }) => at >= 0 && name.length > 2);
  return places.sort((a, b) => a.at - b.at)[0]?.name ?? null;
}
