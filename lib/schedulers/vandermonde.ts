/** The weights w with the sum over k of w[k] * points[k]^i equal to `moments[i]`, by elimination. */
export function solveVandermonde(points: number[], moments: number[]): number[] {
  const rows = moments.map((moment, i) => [...points.map(point => point ** i), moment]);
  rows.forEach((pivot, k) => rows.forEach((row, i) => {
    if (i === k) return;
    const factor = row[k] / pivot[k];
    row.forEach((_, j) => { row[j] -= factor * pivot[j]; });
  }));
  return rows.map((row, i) => row[points.length] / row[i]);
}
