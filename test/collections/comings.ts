import fc from 'fast-check'

export interface Member {
  readonly n: number
}

/**
 * Members join and leave in any order; one who has left is asked again now and then.
 * @param joining a new collection: gives what joins it. @param holds whether it has exactly these, in the order in which they came.
 */
export function comings<C>(
  make: () => C,
  joining: (collection: C) => (member: Member) => () => void,
  holds: (collection: C, members: readonly Member[]) => boolean
): void {
  const steps = fc.array(fc.oneof(fc.record({ add: fc.nat() }), fc.record({ leave: fc.nat() })), { maxLength: 60 })
  fc.assert(fc.property(steps, (steps) => {
    const collection = make()
    const join = joining(collection)
    const all: { readonly member: Member; readonly leave: () => void }[] = []
    const expected = new Set<Member>()
    return steps.every((step) => {
      if ('add' in step) {
        const member = { n: step.add }
        all.push({ member, leave: join(member) })
        expected.add(member)
      } else if (all.length > 0) {
        const { member, leave } = all[step.leave % all.length]!
        leave()
        expected.delete(member)
      }
      return holds(collection, [...expected])
    })
  }))
}
