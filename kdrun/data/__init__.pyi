# What the package shows, written by scripts/write_stubs.py.
from kdrun.data.biographies import SyntheticBiographies as synthetic_biographies
from kdrun.data.canaries import CanaryCorpus as canary_corpus
from kdrun.data.captioned_images import CaptionedFolder as captioned_folder
from kdrun.data.captioned_images import CaptionedGlyphs as captioned_glyphs
from kdrun.data.cifar import Cifar10 as cifar10
from kdrun.data.cifar import Cifar100 as cifar100
from kdrun.data.conll import ConllDomains as conll_domains
from kdrun.data.crowd_images import AnnotatedCrowds as annotated_crowds
from kdrun.data.crowd_images import Crowds as crowds
from kdrun.data.dataset import Column as Column
from kdrun.data.dataset import DataInfo as DataInfo
from kdrun.data.dataset import Dataset as Dataset
from kdrun.data.dataset import FileDataset as FileDataset
from kdrun.data.dataset import MemoryDataset as MemoryDataset
from kdrun.data.domains import DomainGlyphs as domain_glyphs
from kdrun.data.domains import Wilds as wilds
from kdrun.data.encyclopedias import Encyclopedia as encyclopedia
from kdrun.data.faces import CelebaIdentities as celeba_identities
from kdrun.data.facts import FactBank as fact_bank
from kdrun.data.fictitious_authors import Tofu as tofu
from kdrun.data.gazetteers import Gazetteer as gazetteer
from kdrun.data.glyph_images import Glyphs as glyphs
from kdrun.data.handwritten_digits import Digits as digits
from kdrun.data.image_folders import Folder as folder
from kdrun.data.image_folders import ImageNet as imagenet
from kdrun.data.knowledge_graphs import KnowledgeGraph as knowledge_graph
from kdrun.data.latent_sentences import LatentAttributeText as latent_attribute_text
from kdrun.data.numeric_tables import NumericTable as numeric_table
from kdrun.data.point_cloud_folders import PointCloudFolder as point_cloud_folder
from kdrun.data.point_clouds import Solids as solids
from kdrun.data.questions import QuestionFolder as question_folder
from kdrun.data.samplers import one_group_a_batch as one_group_a_batch
from kdrun.data.scenes import PointTargetScenes as point_target_scenes
from kdrun.data.shape_images import ShapeTasks as shape_tasks
from kdrun.data.skills import SkillTexts as skill_texts
from kdrun.data.sources import ClassSources as class_sources
from kdrun.data.survival import BagFolder as bag_folder
from kdrun.data.survival import ClinicalTables as clinical_tables
from kdrun.data.survival import SurvivalBags as survival_bags
from kdrun.data.tabled_images import TabledImages as image_table
from kdrun.data.tagging import ToyTwoDomainNer as toy_two_domain_ner
from kdrun.data.task_texts import TextTasks as text_tasks
from kdrun.data.tasks import RotatedDigits as rotated_digits
from kdrun.data.tasks import SplitCifar100 as split_cifar100
from kdrun.data.tasks import SplitGlyphs as split_glyphs
from kdrun.data.text import TextCorpus as text_corpus
from kdrun.data.transforms import gaussian_noise as gaussian_noise
from kdrun.data.transforms import mixup as mixup
from kdrun.data.transforms import random_affine as random_affine
from kdrun.data.transforms import random_crop as random_crop
from kdrun.data.transforms import random_erasing as random_erasing
from kdrun.data.transforms import random_horizontal_flip as random_horizontal_flip
from kdrun.data.transforms import random_resized_crop as random_resized_crop
from kdrun.data.transforms import random_window as random_window
from kdrun.data.two_vocabularies import AlignedText as aligned_text
from kdrun.data.visible_attributes import DigitAttributes as digit_attributes

__all__ = [
    "Column",
    "DataInfo",
    "Dataset",
    "FileDataset",
    "MemoryDataset",
    "aligned_text",
    "annotated_crowds",
    "bag_folder",
    "canary_corpus",
    "captioned_folder",
    "captioned_glyphs",
    "celeba_identities",
    "cifar10",
    "cifar100",
    "class_sources",
    "clinical_tables",
    "conll_domains",
    "crowds",
    "digit_attributes",
    "digits",
    "domain_glyphs",
    "encyclopedia",
    "fact_bank",
    "folder",
    "gaussian_noise",
    "gazetteer",
    "glyphs",
    "image_table",
    "imagenet",
    "knowledge_graph",
    "latent_attribute_text",
    "mixup",
    "numeric_table",
    "one_group_a_batch",
    "point_cloud_folder",
    "point_target_scenes",
    "question_folder",
    "random_affine",
    "random_crop",
    "random_erasing",
    "random_horizontal_flip",
    "random_resized_crop",
    "random_window",
    "rotated_digits",
    "shape_tasks",
    "skill_texts",
    "solids",
    "split_cifar100",
    "split_glyphs",
    "survival_bags",
    "synthetic_biographies",
    "text_corpus",
    "text_tasks",
    "tofu",
    "toy_two_domain_ner",
    "wilds",
]
