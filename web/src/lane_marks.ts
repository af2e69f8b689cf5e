/** What is drawn around a curve: lines, limits, hatching where nothing is known. */

import type uPlot from "uplot";

export function vertical(plot: uPlot, at: number, colour: string): void {
  const x = Math.round(plot.valToPos(at / 1000, "x", true));
  const { ctx, bbox } = plot;
  if (x < bbox.left || x > bbox.left + bbox.width) return;
  ctx.strokeStyle = colour;
  ctx.beginPath();
  ctx.moveTo(x, bbox.top);
  ctx.lineTo(x, bbox.top + bbox.height);
  ctx.stroke();
}

export function hatch(plot: uPlot, from: number, until: number, colour: string): void {
  const { ctx, bbox } = plot;
  const end = bbox.left + bbox.width;
  const [left, right] = [from, until].map((at) => Math.min(end, Math.max(bbox.left, plot.valToPos(at / 1000, "x", true))));
  if (left === undefined || right === undefined || right - left < 2) return;
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, bbox.top, right - left, bbox.height);
  ctx.clip();
  ctx.strokeStyle = colour;
  for (let x = left - bbox.height; x < right; x += 6 * devicePixelRatio) { ctx.beginPath(); ctx.moveTo(x, bbox.top + bbox.height); ctx.lineTo(x + bbox.height, bbox.top); ctx.stroke(); }
  ctx.restore();
}

/** A limit with its words, if it lies in the range. */
export function limitLine(plot: uPlot, limit: { value: number; word: string }, colour: string): void {
  const { min, max } = plot.scales.y ?? {};
  if (limit.value < (min ?? 0) || limit.value > (max ?? 1)) return;
  const { ctx, bbox } = plot;
  const ratio = devicePixelRatio;
  const y = plot.valToPos(limit.value, "y", true);
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = colour;
  ctx.lineWidth = ratio;
  ctx.setLineDash([4 * ratio, 4 * ratio]);
  ctx.beginPath(); ctx.moveTo(bbox.left, y); ctx.lineTo(bbox.left + bbox.width, y); ctx.stroke();
  ctx.font = `${11 * ratio}px 'Inter Cut', system-ui`;
  ctx.textAlign = "left";
  const isHigh = y - bbox.top < 14 * ratio;
  ctx.textBaseline = isHigh ? "top" : "bottom";
  ctx.fillText(limit.word, bbox.left + 6 * ratio, y + (isHigh ? 3 : -2) * ratio);
  ctx.restore();
}
