// Reports of a run: a line for every finding in CSV or JSON, or a page in HTML with totals and what needs attention.
import { createHash, type Hash } from 'node:crypto'
import { open, type FileHandle } from 'node:fs/promises'
import { html, visible, type Html } from '../page/html.ts'
import { states, type Count, type Finding, type Totals } from './engine.ts'

export const reportFormats = ['csv', 'jsonl', 'html'] as const
export type ReportFormat = (typeof reportFormats)[number]

/** The format that the end of a file's name stands for; null: none. */
export function formatOf(path: string): ReportFormat | null {
  return reportFormats.find((format) => path.endsWith(`.${format}`)) ?? null
}

/** What a report says of the whole run. Times in milliseconds since 1970. */
export interface Summary {
  readonly runId: string
  readonly command: string
  readonly version: string
  readonly bucket: string
  readonly prefix: string
  readonly started: number
  readonly ended: number
  /** The run has seen every row of its source. */
  readonly complete: boolean
  /** When the run began that this one goes on with, or this one; null: it has no ledger. */
  readonly ledger: number | null
  /** SHA-256 of the configuration file, in hex. */
  readonly configuration: string
  readonly totals: Totals
}

/** Columns, in their order. New ones are added at the end. */
const columns = ['key', 'versionId', 'state', 'size', 'storedBytes', 'keyId', 'lastModified', 'outcome', 'detail', 'verdict', 'fault'] as const

function cellsOf(finding: Finding): readonly (string | number | null)[] {
  return columns.map((name) => name === 'lastModified' && finding.lastModified !== null ? new Date(finding.lastModified).toISOString() : finding[name])
}

/**
 * A cell as RFC 4180 quotes it. Spreadsheets run what begins with = + - @, a tab or a carriage return: such a text gets an apostrophe in front, and so
 * does one that begins with an apostrophe, so that taking away one leading apostrophe always gives the text.
 */
function csvCell(cell: string | number | null): string {
  if (typeof cell !== 'string') return cell === null ? '' : String(cell)
  const harmless = /^[=+\-@\t\r']/.test(cell) ? `'${cell}` : cell
  return /[",\r\n]/.test(harmless) || harmless !== harmless.trim() ? `"${harmless.replaceAll('"', '""')}"` : harmless
}

/** A line of a report, with its line end. */
function lineOf(finding: Finding, format: Exclude<ReportFormat, 'html'>): string {
  return format === 'csv'
    ? `${cellsOf(finding).map(csvCell).join(',')}\r\n`
    : `${JSON.stringify(Object.fromEntries(columns.map((name, i) => [name, cellsOf(finding)[i]])))}\n`
}

/** Rows that an HTML report lists: a page with a million rows opens nowhere. */
const MOST_SHOWN = 1000
/** States that need no attention. */
const quiet: ReadonlySet<string> = new Set(['sealed', 'delete-marker'])
function quietVerdict({ verdict }: Finding): boolean {
  return verdict === null || verdict === 'verified'
}

/** Bytes that are gathered before they are written. */
const GATHER = 65_536

/** Writes a report while the run goes on. Memory is the same for any number of rows. */
export class ReportFile {
  readonly #file: FileHandle
  readonly #format: ReportFormat
  readonly #hash: Hash = createHash('sha256')
  readonly #shown: Finding[] = []
  #more = 0
  #gathered = ''
  #written: Promise<void> = Promise.resolve()

  private constructor(file: FileHandle, format: ReportFormat) {
    this.#file = file
    this.#format = format
    if (format === 'csv') this.#gathered = `${columns.join(',')}\r\n`
  }

  /** A new file that only its owner may read, because names may be confidential; it replaces an older report. @throws Error of the file system. */
  static async open(path: string, format: ReportFormat): Promise<ReportFile> {
    return new ReportFile(await open(path, 'w', 0o600), format)
  }

  /** @throws Error of the file system. */
  async add(finding: Finding): Promise<void> {
    if (this.#format === 'html') {
      if ((finding.state === null || quiet.has(finding.state)) && finding.outcome === null && quietVerdict(finding)) return
      if (this.#shown.length < MOST_SHOWN) this.#shown.push(finding)
      else this.#more += 1
      return
    }
    this.#gathered += lineOf(finding, this.#format)
    if (this.#gathered.length >= GATHER) await this.#flush()
  }

  /** Completes the file. @returns its SHA-256, in hex. @throws Error of the file system. */
  async end(summary: Summary): Promise<string> {
    if (this.#format === 'html') this.#gathered = page(summary, this.#shown, this.#more)
    return this.close()
  }

  /** As `end`, of a format that is lines alone. */
  async close(): Promise<string> {
    await this.#flush()
    await this.#file.close()
    return this.#hash.digest('hex')
  }

  /** One write after the other, in the order of the findings. */
  #flush(): Promise<void> {
    const text = this.#gathered
    this.#gathered = ''
    this.#written = this.#written.then(async () => {
      this.#hash.update(text)
      await this.#file.appendFile(text)
    })
    return this.#written
  }
}

/** The summary as JSON, with counts by state and outcome: what is signed, and what `--json` prints. */
export function summaryJson(summary: Summary): Record<string, unknown> {
  const { totals, started, ended, ledger, ...rest } = summary
  const counts = (map: ReadonlyMap<string, Count>): Record<string, unknown> =>
    Object.fromEntries(
      [...map].map(([label, { oldest, ...count }]) => [label, { ...count, oldest: oldest === null ? null : new Date(oldest).toISOString() }])
    )
  return {
    ...rest,
    started: new Date(started).toISOString(),
    ended: new Date(ended).toISOString(),
    ledger: ledger === null ? null : new Date(ledger).toISOString(),
    rows: totals.rows,
    gone: totals.gone,
    skipped: totals.skipped,
    states: counts(totals.states),
    outcomes: counts(totals.outcomes),
    faults: counts(totals.faults)
  }
}

/** The summary for people, a line for each state. */
export function summaryText({ bucket, prefix, totals, complete }: Summary): string {
  const order = [...Object.keys(states), 'failed']
  const found = [...totals.states].toSorted(([a], [b]) => order.indexOf(a) - order.indexOf(b))
  const rows = [...found, ...totals.outcomes, ...totals.faults].map((
    [label, count]
  ) => [label, `${many(count.objects)} objects`, `${many(count.storedBytes)} stored bytes`])
  if (totals.gone > 0) rows.push(['deleted meanwhile', `${many(totals.gone)} objects`, ''])
  if (totals.skipped > 0) rows.push(['done before', `${many(totals.skipped)} objects`, ''])
  const widths = [0, 1].map((column) => Math.max(0, ...rows.map((row) => row[column]?.length ?? 0)))
  const lines = rows.map(([label = '', objects = '', bytes = '']) =>
    `  ${label.padEnd(widths[0] ?? 0)}  ${objects.padStart(widths[1] ?? 0)}  ${bytes}`.trimEnd()
  )
  const attention = found.filter(([state]) => !quiet.has(state)).flatMap((
    [state, { examples }]
  ) => [`${state}:`, ...examples.map((key) => `  ${quoted(key)}`)])
  return [
    `${bucket}${prefix === '' ? '' : `, names that begin with ${quoted(prefix)}`}: ${many(totals.rows)} rows examined${complete ? '' : ', NOT COMPLETE'}`,
    ...lines,
    ...attention,
    ''
  ].join('\n')
}

/** A name from outside for a terminal: as JSON, without characters that a terminal acts on or that change the direction of text. */
export function quoted(text: string): string {
  return visible(JSON.stringify(text))
}

function many(value: number): string {
  return value.toLocaleString('en')
}

function page(summary: Summary, shown: readonly Finding[], more: number): string {
  const { bucket, prefix, runId, command, version, started, ended, complete, configuration, totals } = summary
  const facts = [
    ['Bucket', bucket],
    ['Prefix', prefix === '' ? '(all)' : prefix],
    ['Run', runId],
    ['Command', `${command}, Sealgate ${version}`],
    ['Begun', new Date(started).toISOString()],
    ['Ended', new Date(ended).toISOString()],
    ['Complete', complete ? 'yes' : 'no: it was stopped'],
    ['Configuration', `SHA-256 ${configuration}`],
    ['Rows', many(totals.rows)]
  ]
  const counts = [...totals.states, ...totals.outcomes, ...totals.faults].map((
    [label, { objects, bytes, storedBytes, oldest }]
  ) => [label, many(objects), many(bytes), many(storedBytes), oldest === null ? '' : new Date(oldest).toISOString()])
  const row = (cells: readonly (string | number | null)[], heading = false): Html =>
    html`<tr>${cells.map((cell) => heading ? html`<th>${cell}</th>` : html`<td>${cell}</td>`)}</tr>`
  const lines = (rows: readonly (readonly (string | number | null)[])[]): Html => html`<tbody>${rows.map((cells) => html`${row(cells)}\n`)}</tbody>`
  return html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${bucket}: ${command}</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>
:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem}
table{border-collapse:collapse;width:100%;margin:1rem 0}th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #8886;overflow-wrap:anywhere;vertical-align:top}
.counts td:nth-child(n+2):nth-child(-n+4){text-align:right;font-variant-numeric:tabular-nums}
@media print{body{margin:0;max-width:none;font-size:10pt}tr{break-inside:avoid}thead{display:table-header-group}}
</style></head><body><h1>${bucket}: ${command}</h1>
<table>${lines(facts)}</table>
<h2>Counts</h2>
<table class="counts"><thead>${row(['State, outcome or fault', 'Objects', 'Bytes', 'Stored bytes', 'Oldest'], true)}</thead>${lines(counts)}</table>
<h2>What needs attention</h2>
${shown.length === 0 ? html`<p>Nothing.</p>` : html`<table><thead>${row(columns, true)}</thead>${lines(shown.map(cellsOf))}</table>`}
${more === 0 ? null : html`<p>${many(more)} more are in a report in CSV or JSON.</p>`}
</body></html>
`.toString()
}
