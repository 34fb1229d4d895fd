// What leaves the page: ids to copy, tables to download.

/** Return a cell of a CSV file. A text that a spreadsheet would take for a formula gets an
 * apostrophe in front; numbers stay numbers. */
function csvCell(value) {
  if (typeof value === "number") return Number.isNaN(value) ? "" : String(value);
  let text = String(value);
  if (/^[\s\u0000]*[=+\-@\t\r＝＋－＠]/.test(text) && !/^-?\d+(\.\d+)?$/.test(text)) text = `'${text}`;
  return /[",\r\n;]/.test(text) || text !== text.trim() ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Return rows as a CSV file: ids, scores, labels and all other columns. */
function csvOf(data, rows, threshold) {
  const headings = ["id"];
  if (data.score) headings.push("score", "below_threshold");
  headings.push(...data.columns.map((column) => column.name));
  const lines = [headings.map(csvCell)];
  for (const row of rows) {
    const cells = [data.idOf(row)];
    if (data.score) cells.push(data.score[row], data.score[row] < threshold ? 1 : 0);
    for (const column of data.columns) {
      const value = column.values[row];
      if (column.categories) cells.push(column.categories[value]);
      else cells.push(column.isDate ? formatDate(value) : value);
    }
    lines.push(cells.map(csvCell));
  }
  return `${lines.map((cells) => cells.join(",")).join("\r\n")}\r\n`;
}

function download(text, name) {
  const url = URL.createObjectURL(new Blob(["\ufeff", text], { type: "text/csv;charset=utf-8" }));
  const link = element("a", { download: name });
  link.href = url;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

/** Copy text; where the browser does not allow that, select it for the user to copy. */
async function copyText(area) {
  try {
    await navigator.clipboard.writeText(area.value);
    return true;
  } catch {
    area.focus();
    area.select();
    return document.execCommand("copy");
  }
}
