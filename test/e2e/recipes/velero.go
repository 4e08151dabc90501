// What Velero's server does with a backup storage location, by its own packages: the plugin started by its plugin manager, and its backup store on top.
// test/e2e/recipes/velero.sh builds it within the plugin's module, with Velero of the version that the plugin is made for.
//
//	velero-driver COMMAND ARGUMENT…, the location in LOCATION (JSON), the folder of plugins in PLUGINS
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/sirupsen/logrus"
	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	"github.com/vmware-tanzu/velero/pkg/persistence"
	"github.com/vmware-tanzu/velero/pkg/plugin/clientmgmt"
	"github.com/vmware-tanzu/velero/pkg/plugin/clientmgmt/process"
	"github.com/vmware-tanzu/velero/pkg/plugin/framework"
)

func main() {
	arguments := os.Args[1:]
	// The plugin manager asks the server itself, too, for the plugins that are compiled into it. There are none here.
	if arguments[0] == "run-plugins" {
		framework.NewServer().Serve()
		return
	}
	if err := run(arguments[0], arguments[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "%+v\n", err)
		os.Exit(1)
	}
}

func run(command string, arguments []string) error {
	logger := logrus.New()
	logger.SetLevel(logrus.WarnLevel)
	registry := process.NewRegistry(os.Getenv("PLUGINS"), logger, logger.Level)
	if err := registry.DiscoverPlugins(); err != nil {
		return err
	}
	plugins := clientmgmt.NewManager(logger, logger.Level, registry)
	defer plugins.CleanupClients()
	location := &velerov1.BackupStorageLocation{}
	if err := json.Unmarshal([]byte(os.Getenv("LOCATION")), location); err != nil {
		return err
	}
	store, err := persistence.NewObjectBackupStoreGetter(nil).Get(location, plugins, logger)
	if err != nil {
		return err
	}
	return perform(store, location.Spec.ObjectStorage.Bucket, command, arguments)
}

func perform(store persistence.BackupStore, bucket, command string, arguments []string) error {
	switch command {
	case "valid":
		return store.IsValid()
	case "backup": // NAME FOLDER
		return backup(store, arguments[0], arguments[1])
	case "restore": // BACKUP NAME FOLDER
		return restore(store, arguments[0], arguments[1], arguments[2])
	case "list":
		return show(store.ListBackups())
	case "exists": // BACKUP
		return show(store.BackupExists(bucket, arguments[0]))
	case "metadata": // BACKUP
		return show(store.GetBackupMetadata(arguments[0]))
	case "volumes": // BACKUP
		return show(store.GetBackupVolumeInfos(arguments[0]))
	case "results": // RESTORE
		return show(store.GetRestoreResults(arguments[0]))
	case "contents": // BACKUP
		contents, err := store.GetBackupContents(arguments[0])
		if err != nil {
			return err
		}
		defer contents.Close()
		_, err = io.Copy(os.Stdout, contents)
		return err
	case "url": // KIND NAME
		url, err := store.GetDownloadURL(velerov1.DownloadTarget{Kind: velerov1.DownloadTargetKind(arguments[0]), Name: arguments[1]})
		fmt.Println(url)
		return err
	case "delete": // BACKUP
		return store.DeleteBackup(arguments[0])
	case "delete-restore": // RESTORE
		return store.DeleteRestore(arguments[0])
	}
	return fmt.Errorf("no such command: %s", command)
}

func show(value any, err error) error {
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(value)
}

// files opens files of a folder, and closes them all by the function that it returns.
func files(folder string, names ...string) (map[string]io.Reader, func(), error) {
	opened, readers := []*os.File{}, map[string]io.Reader{}
	closeAll := func() {
		for _, file := range opened {
			file.Close()
		}
	}
	for _, name := range names {
		file, err := os.Open(filepath.Join(folder, name))
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		opened = append(opened, file)
		readers[name] = file
	}
	return readers, closeAll, nil
}

func backup(store persistence.BackupStore, name, folder string) error {
	of, closeAll, err := files(folder, "metadata", "contents", "log", "results", "pod-volumes", "snapshots", "operations", "resources", "volumes")
	if err != nil {
		return err
	}
	defer closeAll()
	return store.PutBackup(persistence.BackupInfo{
		Name:                 name,
		Metadata:             of["metadata"],
		Contents:             of["contents"],
		Log:                  of["log"],
		BackupResults:        of["results"],
		PodVolumeBackups:     of["pod-volumes"],
		VolumeSnapshots:      of["snapshots"],
		BackupItemOperations: of["operations"],
		BackupResourceList:   of["resources"],
		BackupVolumeInfo:     of["volumes"],
	})
}

func restore(store persistence.BackupStore, backup, name, folder string) error {
	of, closeAll, err := files(folder, "log", "results")
	if err != nil {
		return err
	}
	defer closeAll()
	if err := store.PutRestoreLog(backup, name, of["log"]); err != nil {
		return err
	}
	return store.PutRestoreResults(backup, name, of["results"])
}
