import t from 'tap'
import type { Report } from '../../src/cli/worker.ts'
import { WorkerReports } from '../../src/cli/worker.ts'

const report: Report = { ready: { ok: true, checks: {} }, metrics: null, status: null, page: null }

await t.test('a worker that has not answered for six rounds hangs; one answer makes up for what was before', async (t) => {
  const [well, hanging, starting] = [{ listening: true }, { listening: true }, { listening: false }]
  let answers = false
  const reports = new WorkerReports<{ listening: boolean }>((seat, message) => {
    if (message.type === 'report' && (seat === well || answers)) reports.heard(message.id, report)
  }, 1)
  const seats = [well, hanging, starting]
  t.same([...await reports.ask(seats, 'metrics')], [[well, report]], 'those that listen and answer')
  for (let round = 1; round < 6; round += 1) t.same(await reports.silent(seats), [], `round ${round}`)
  answers = true
  t.same(await reports.silent(seats), [])
  answers = false
  for (let round = 1; round < 6; round += 1) t.same(await reports.silent(seats), [], `round ${round} again`)
  t.same(await reports.silent(seats), [hanging])
})
