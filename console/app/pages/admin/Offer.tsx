import { Button, Fieldset, Group as Row, Stack, TextInput } from '@mantine/core';
import { useChangeWorkspace } from '../../api/deployment';
import { asProblem } from '../../api/problem';
import type { Workspace, WorkspacePatch } from '../../api/types';
import { ProblemNote } from '../../ui/ProblemNote';
import { labelsOf, listOf, textOfLabels } from './listText';
import { useDraft } from './useDraft';

/** Who an entry of the catalogue is for, and where it may run. */
export function Offer({ workspace, disabled }: { workspace: Workspace; disabled: boolean }) {
  const change = useChangeWorkspace();
  const before = {
    groups: (workspace.groups ?? []).join(', '),
    zones: (workspace.zones ?? []).join(', '),
    labels: textOfLabels(workspace.required_labels ?? {}),
  };
  const { form, set, saved } = useDraft(before);
  const { groups, zones, labels } = form;
  const wanted = labelsOf(labels);
  const patch: WorkspacePatch = {
    ...(groups === before.groups ? {} : { groups: orNull(listOf(groups)) }),
    ...(zones === before.zones ? {} : { zones: orNull(listOf(zones)) }),
    ...(labels === before.labels || wanted === null ? {} : { required_labels: wanted }),
  };
  const problem = change.error ? asProblem(change.error) : null;
  const save = () => change.mutate({ id: workspace.id, patch }, { onSuccess: saved });
  return (
    <Fieldset legend="Who sees it, and where it may run" disabled={disabled}>
      <Stack gap="sm">
        <TextInput
          label="Groups"
          description="Names with commas between; empty: it is for everybody"
          placeholder="everybody"
          value={groups}
          onChange={(event) => set({ groups: event.currentTarget.value })}
          error={problem?.at('groups')}
        />
        <TextInput
          label="Zones"
          description="Where it is offered; empty: everywhere"
          placeholder="everywhere"
          value={zones}
          onChange={(event) => set({ zones: event.currentTarget.value })}
          error={problem?.at('zones')}
        />
        <TextInput
          label="Labels of its agents"
          description="Such as disk=fast; an agent must have all of them"
          placeholder="any agent"
          value={labels}
          onChange={(event) => set({ labels: event.currentTarget.value })}
          error={wanted === null ? 'Write each as name=value, with commas between.' : problem?.at('required_labels')}
        />
        {problem && !['groups', 'zones', 'required_labels'].some((field) => problem.at(field) !== null) && <ProblemNote error={problem} />}
        <Row justify="flex-end">
          <Button variant="light" loading={change.isPending} disabled={wanted === null || Object.keys(patch).length === 0} onClick={save}>
            Save
          </Button>
        </Row>
      </Stack>
    </Fieldset>
  );
}

/** No names are no restriction. */
function orNull(names: string[]): string[] | null {
  return names.length === 0 ? null : names;
}
