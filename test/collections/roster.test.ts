import t from 'tap'
import { Roster } from '../../src/collections/roster.ts'
import { comings, type Member } from './comings.ts'

await t.test('holds the members that joined and have not left, in any order', async () => {
  comings(
    () => new Roster<Member>(),
    (roster) => (member) => roster.add(member),
    (roster, wanted) => {
      const members = new Set(roster.members())
      return roster.size === wanted.length && members.size === wanted.length && wanted.every((member) => members.has(member))
    }
  )
})

await t.test('a member that leaves during an iteration does not disturb it', async (t) => {
  const roster = new Roster<number>()
  const leave = [1, 2, 3].map((n) => roster.add(n))
  const seen: number[] = []
  for (const member of roster.members()) {
    seen.push(member)
    leave[0]!()
    leave[1]!()
  }
  t.same(seen, [1, 2, 3])
  t.same(roster.members(), [3])
})
