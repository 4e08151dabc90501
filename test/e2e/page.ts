// The status page in headless Chromium: how it looks, that it is accessible, that it asks nobody, and that staged faults are found from it alone.
//   node test/e2e/page.ts CHROMIUM AXE.js CERTIFICATES FOLDER [looks]
// CERTIFICATES has expired.pem and expired.key; FOLDER gets the screenshots. `looks`: without the faults. Prints a line per step, then "N of M"; ends with 1 when a step failed.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { createAdminListener } from '../../src/listener/admin.ts'
import { pageOf } from '../../src/page/page.ts'
import { contentSecurityPolicy } from '../../src/page/style.ts'
import { picture, troubled } from '../support/page-facts.ts'
import { Tab, type Look } from './chromium.ts'
import { faults, type Fault } from './page-faults.ts'
import { PageRig } from './page-rig.ts'

const [chromium = '', axe = '', certificates = '', folder = '', only = ''] = process.argv.slice(2)
/** The checks of readiness run every 15 s, and scans are read every 5 minutes or after a start. */
const patienceMs = 60_000
const axeSource = await readFile(axe, 'utf8')
const expired = { cert: join(certificates, 'expired.pem'), key: join(certificates, 'expired.key') }
const tab = await Tab.open(chromium)
let failed = 0

function told(name: string, fault: string): void {
  console.log(`${name.padEnd(44)} ${fault === '' ? 'ok' : `FAIL ${fault}`}`)
  if (fault !== '') failed += 1
}

const headings = (): Promise<string[]> => tab.evaluate(`[...document.querySelectorAll('.findings h3')].map((one) => one.textContent)`)

interface AxeResult {
  readonly violations: readonly { readonly id: string; readonly nodes: readonly { readonly html: string }[] }[]
}

/** Findings of axe-core, all its rules. */
async function inaccessible(): Promise<string> {
  await tab.evaluate(axeSource)
  const rules = `{ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }`
  const { violations } = await tab.evaluate<AxeResult>(`axe.run(document, ${rules}).then(({ violations }) => ({ violations }))`)
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 150)).join(' ')}`).join('; ')
}

const looks: readonly Look[] = (['light', 'dark'] as const).flatMap((scheme) => [360, 1440].map((width) => ({ scheme, width })))

/** Every look at a page: nothing beside the window, no finding of axe, a screenshot. */
async function lookAt(name: string, address: string): Promise<void> {
  for (const look of looks) {
    await tab.look(look)
    await tab.load(`${address}?refresh=off`)
    const wide = await tab.evaluate<number>('document.documentElement.scrollWidth')
    // An element that is wider than its card, in the room that the card leaves it.
    const over = await tab.evaluate<string[]>(`[...document.querySelectorAll('.card > *')].filter((one) => {
      const card = one.parentElement.getBoundingClientRect()
      return one.getBoundingClientRect().right > card.right - parseFloat(getComputedStyle(one.parentElement).paddingRight)
    }).map((one) => one.textContent.slice(0, 40))`)
    told(`${name}, ${look.scheme}, ${look.width} px: fits`, wide > look.width ? `${wide} px wide` : over.join('; '))
    told(`${name}, ${look.scheme}, ${look.width} px: axe`, await inaccessible())
    await tab.screenshot(join(folder, `${name}-${look.scheme}-${look.width}.png`))
  }
}

async function healthy(): Promise<readonly string[]> {
  const rig = await PageRig.make()
  try {
    await rig.start({})
    for (const bucket of ['orders', 'cloud-invoices', 'public-site', 'orders']) await rig.traffic(bucket, 6)
    await rig.run('scan', '--config', 'sealgate.yaml', '--bucket', 'orders')
    await tab.load(`${rig.page}?refresh=off`)
    await delay(1000)
    const before = tab.requested.length
    await lookAt('healthy', rig.page)
    const own = (url: string): boolean => url.startsWith(rig.page) || url.startsWith('data:')
    told('no request to anywhere else', tab.requested.slice(before).filter((url) => !own(url)).join(' '))
    told('the browser complains of nothing', tab.complaints.join('; '))
    await tab.scripts(false)
    await tab.load(rig.page)
    const text = await tab.evaluate<string>('document.body.innerText')
    await tab.scripts(true)
    told('works without JavaScript', /Readiness/.test(text) ? '' : text.slice(0, 200))
    await tab.load(`${rig.page}?refresh=off`)
    return await headings()
  } finally {
    await rig.stop()
  }
}

/** Further findings on the pages of faults: consequences, or false alarms. */
const others: string[] = []

/** @returns what the page says instead; empty: the fault was found */
async function staged({ name, prepare, stage, found }: Fault): Promise<string> {
  const rig = await PageRig.make()
  try {
    await rig.start(await prepare?.(rig, expired) ?? {})
    await stage?.(rig)
    const until = Date.now() + patienceMs
    for (;;) {
      await tab.load(`${rig.page}?refresh=off`)
      const said = await headings()
      if (said.some((heading) => found.test(heading))) {
        others.push(...said.filter((heading) => !found.test(heading)).map((heading) => `${name}: ${heading}`))
        await tab.screenshot(join(folder, `fault-${name.replaceAll(' ', '-')}.png`))
        return ''
      }
      if (Date.now() > until) return said.join('; ')
      await delay(500)
    }
  } finally {
    await rig.stop()
  }
}

/** Pages of facts that are made up: no gateway is needed. The picture of docs/OPERATIONS.md, and everything wrong at once. */
async function madeUp(): Promise<void> {
  let shown = picture()
  const admin = createAdminListener({ host: '127.0.0.1', port: 0 }, {
    ready: async () => ({ ok: false, checks: {} }),
    metrics: () => '',
    status: () => ({}),
    page: { html: async (refreshed) => pageOf(shown, refreshed), json: async () => shown, policy: contentSecurityPolicy }
  })
  const { port } = await admin.start()
  const address = `http://127.0.0.1:${port}/`
  await tab.look({ scheme: 'light', width: 1000 })
  await tab.load(address)
  await tab.screenshot(join(folder, 'status-page.png'), 770)
  shown = troubled()
  await lookAt('troubled', address)
  told('the browser complains of nothing', tab.complaints.join('; '))
  await admin.stop()
}

await madeUp()
const normal = await healthy()
told('a healthy gateway: nothing to look at', normal.join('; ') === 'Nothing' ? '' : normal.join('; '))
let found = 0
await tab.look({ scheme: 'light', width: 1440 })
for (const fault of only === 'looks' ? [] : faults) {
  const instead = await staged(fault)
  told(fault.name, normal.some((heading) => fault.found.test(heading)) ? 'the page of a healthy gateway says it too' : instead)
  if (instead === '') found += 1
}
await tab.close()
for (const other of others) console.log(`also said of ${other}`)
const ofFaults = only === 'looks' ? '' : `${found} of ${faults.length} faults found from the page alone, `
console.log(`${ofFaults}${failed} steps failed`)
process.exit(failed === 0 ? 0 : 1)
